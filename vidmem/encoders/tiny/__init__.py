"""`tiny`, the encoder that ships with vidmem: a COCO detector finds things, an ImageNet network looks at their views.

It needs numpy and ONNX Runtime alone. weights/tiny.md tells where its weights come from and what it knows.
"""
