"""Synthetic videos with known answers, for the demo, the tests and the benchmarks.

**lostfound**: a camera walks through rooms full of clutter. Things lie on shelves, tables and the floor; they come into
view, leave it, are moved or removed while out of view, and return elsewhere. Everything follows from one seed. The
rooms are painted with numpy and PIL, and the things are named drawings (drawings.py).

    python -m lab.synthetic --seed 3 --seconds 60 --out DIR

writes DIR/video.mp4 (H.264, 1280x720, 30 fps), DIR/truth.json and DIR/pictures/*.png. From Python:

    from lab.synthetic.lostfound import load, make, make_small

    world = make(folder, seed=3, seconds=60) world.truth.spans("alarm clock")    # ((start_ns, end_ns), ...): when it
    was in view world.queries                       # questions and their right answers

Definitions. A thing is **visible** in a frame if at least half of its area is inside the view and not covered by a
nearer thing or an occluder, and the frame is not blurred by a quick turn of the camera. A **span** runs from its first
to its last visible frame (both inclusive); gaps under one second are bridged; spans with less than 0.4 s in view are
dropped. **Boxes** are given 5 times a second, in video pixels, clipped to the picture. No two things in a world share a
word in their names or synonyms (colours aside), and none shares one with the scenery, so every name has one answer. A
question asks for a thing only if its last span lasts a second or more and it is not partly in view later. The names of
absent things share no word with anything in the world.

The modules in order: textures and furniture -> rooms; camera (the walk, a pose for each frame) -> script (what lies
where during which visit) -> scene (sprites, coverage) -> truth, from the script alone, and render, frame by frame.
"""
