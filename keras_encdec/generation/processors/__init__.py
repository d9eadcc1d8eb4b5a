"""What may follow: functions that change logits before a sampler."""
