"""The catalogue of rates, and the outcomes of prompts that they average. The catalogue imports no torch."""
