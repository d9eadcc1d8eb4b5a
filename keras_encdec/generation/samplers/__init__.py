"""What picks the tokens: one sampler for each way of generating."""
