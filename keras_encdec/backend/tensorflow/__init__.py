"""What TensorFlow alone needs."""
