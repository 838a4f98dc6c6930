"""Photographs for `tiny`: names and their space, photos with boxes, a teacher of features, scenes made of them."""
