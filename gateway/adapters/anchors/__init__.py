"""Anchors: a write-once folder, time stamping authorities, witnesses; and the shelf where their answers are kept."""
