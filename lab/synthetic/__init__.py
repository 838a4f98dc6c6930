"""Made-up worlds with known answers: the demo's video, the tests' small ones, the benchmark's held-out ones.

**lostfound**: a camera walks through rooms full of clutter. Things lie on shelves, tables and the floor; they are seen,
leave the view, are moved or taken away while nobody looks, and come back elsewhere. Everything follows from one seed:
no photograph is shipped, the rooms are painted by numpy and PIL, the things are drawings with names (drawings.py).

    python -m lab.synthetic --seed 3 --seconds 60 --out DIR

writes DIR/video.mp4 (H.264, 1280x720, 30 fps), DIR/truth.json and DIR/pictures/*.png. From Python:

    from lab.synthetic.lostfound import load, make, make_small

    world = make(folder, seed=3, seconds=60)
    world.truth.spans("alarm clock")    # ((start_ns, end_ns), ...): when it was in view
    world.queries                       # what to ask, and the right answers

What counts. A thing is **visible** in a frame when at least half of its own area is inside the view and covered
neither by a nearer thing nor by an occluder, and the frame is not smeared by a quick turn of the camera. A **span**
runs from its first to its last visible frame (both inclusive); gaps under one second are bridged; spans with less
than 0.4 s in view are dropped. **Boxes** come 5 times a second, in video pixels, cut at the edges of the picture.
No two things in a world share a word in their names or synonyms (colours aside), and none shares one with the
scenery, so every name has one answer. A thing is asked for only when its last span lasts a second or more and it is
not half in view later; what is asked for in vain shares no word with anything that is there.

How it is made: textures and furniture -> rooms; camera (the walk, a pose for each frame) -> script (what lies where
during which visit) -> scene (sprites, coverage) -> truth, from the script alone, and render, frame by frame.
"""
