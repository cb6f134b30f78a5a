"""What a clip, a frame, a mark and a patch are."""
