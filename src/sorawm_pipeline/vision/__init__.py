"""What the stages know about pictures: models, and geometry over time."""
