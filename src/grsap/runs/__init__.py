"""What a run folder is: its files, summary, card and metrics. Read without torch."""
