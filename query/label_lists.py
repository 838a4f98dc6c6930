"""The classes of well-known data sets, in their own order: the index of a name is the number of its class.

In the form that `labels.parse_labels` reads. What can be counted is a thing, the rest is stuff; the data sets differ on
that, and the marks here are ours.
"""

from __future__ import annotations

VSPW = """
wall\tstuff
ceiling\tstuff
door
stair\tstuff
ladder
escalator\tstuff
playground slide
handrail or fence\tstuff
window
rail\tstuff
goal
pillar\tstuff
pole\tstuff
floor\tstuff
ground\tstuff
grass\tstuff
sand\tstuff
athletic field\tstuff
road\tstuff
path\tstuff
crosswalk\tstuff
building\tstuff
house\tstuff
bridge\tstuff
tower\tstuff
windmill
well or well lid
other construction\tstuff
sky\tstuff
mountain\tstuff
stone\tstuff
wood\tstuff
ice\tstuff
snowfield\tstuff
grandstand\tstuff
sea\tstuff
river\tstuff
lake\tstuff
waterfall\tstuff
water\tstuff
billboard or bulletin board
sculpture
pipeline\tstuff
flag
parasol or umbrella
cushion or carpet\tstuff
tent
roadblock
car
bus
truck
bicycle
motorcycle
wheeled machine
ship or boat
raft
airplane
tyre
traffic light
lamp
person
cat
dog
horse
cattle
other animal
tree\tstuff
flower\tstuff
other plant\tstuff
toy
ball net\tstuff
backboard
skateboard
bat
ball
cupboard or showcase or storage rack
box
traveling case or trolley case
basket
bag or package
trash can
cage
plate
tub or bowl or pot
bottle or cup
barrel
fishbowl
bed
pillow
table or desk
chair or seat
bench
sofa
shelf
bathtub
gun
commode
roaster
other machine
refrigerator
washing machine
microwave oven
fan
curtain\tstuff
textiles\tstuff
clothes\tstuff
painting or poster
mirror
flower pot or vase
clock
book
tool
blackboard\tstuff
tissue\tstuff
screen or television
computer
printer
mobile phone
keyboard
other electronic product
fruit\tstuff
food\tstuff
instrument
train
"""
"""124 classes (Miao et al., CVPR 2021), underscores as spaces; in its masks 0 is unlabelled and class i is i + 1."""

ADE20K = """
wall\tstuff
building\tstuff
sky\tstuff
floor\tstuff
tree\tstuff
ceiling\tstuff
road\tstuff
bed
windowpane
grass\tstuff
cabinet
sidewalk\tstuff
person
earth\tstuff
door
table
mountain\tstuff
plant\tstuff
curtain
chair
car
water\tstuff
painting
sofa
shelf
house\tstuff
sea\tstuff
mirror
rug\tstuff
field\tstuff
armchair
seat
fence
desk
rock\tstuff
wardrobe
lamp
bathtub
railing
cushion
base\tstuff
box
column
signboard
chest of drawers
counter
sand\tstuff
sink
skyscraper\tstuff
fireplace
refrigerator
grandstand\tstuff
path\tstuff
stairs
runway\tstuff
case
pool table
pillow
screen door
stairway\tstuff
river\tstuff
bridge\tstuff
bookcase
blind
coffee table
toilet
flower
book
hill\tstuff
bench
countertop
stove
palm
kitchen island
computer
swivel chair
boat
bar\tstuff
arcade machine
hovel\tstuff
bus
towel
light
truck
tower\tstuff
chandelier
awning
streetlight
booth
television receiver
airplane
dirt track\tstuff
apparel
pole
land\tstuff
bannister\tstuff
escalator\tstuff
ottoman
bottle
buffet\tstuff
poster
stage\tstuff
van
ship
fountain
conveyer belt\tstuff
canopy\tstuff
washer
plaything
swimming pool\tstuff
stool
barrel
basket
waterfall\tstuff
tent\tstuff
bag
minibike
cradle
oven
ball
food\tstuff
step\tstuff
tank
trade name\tstuff
microwave
pot
animal
bicycle
lake\tstuff
dishwasher
screen
blanket\tstuff
sculpture
hood
sconce
vase
traffic light
tray
ashcan
fan
pier\tstuff
crt screen
plate
monitor
bulletin board
shower
radiator
glass
clock
flag
"""
"""150 classes of the scene parsing benchmark (Zhou et al., CVPR 2017), the first of each one's names."""

COCO = """
person
bicycle
car
motorcycle
airplane
bus
train
truck
boat
traffic light
fire hydrant
stop sign
parking meter
bench
bird
cat
dog
horse
sheep
cow
elephant
bear
zebra
giraffe
backpack
umbrella
handbag
tie
suitcase
frisbee
skis
snowboard
sports ball
kite
baseball bat
baseball glove
skateboard
surfboard
tennis racket
bottle
wine glass
cup
fork
knife
spoon
bowl
banana
apple
sandwich
orange
broccoli
carrot
hot dog
pizza
donut
cake
chair
couch
potted plant
bed
dining table
toilet
tv
laptop
mouse
remote
keyboard
cell phone
microwave
oven
toaster
sink
refrigerator
book
clock
vase
scissors
teddy bear
hair drier
toothbrush
"""
"""80 things (Lin et al., ECCV 2014); the numbers in its files have gaps, these have none."""
