"""What a call of the generator is given, checked on the host."""
