"""What is measured of answers: the catalogue of rates, and the outcome of each prompt. No torch in the catalogue."""
