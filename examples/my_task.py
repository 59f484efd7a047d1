"""A user-defined task: one class with one method. With `score`, answers are scored in checks and tables too."""

from grsap.data import ConversationDataModule

CAPITALS = {"France": "Paris", "Peru": "Lima", "Japan": "Tokyo", "Norway": "Oslo", "Kenya": "Nairobi", "Cuba": "Havana"}


class CapitalsTask(ConversationDataModule):
    """Name the capital of a country, in one word."""

    def rows(self, split):
        """Yield four countries to learn from, and two to test on."""
        parts = {"train": list(CAPITALS)[:4], "validation": [], "test": list(CAPITALS)[4:]}
        for country in parts[split]:
            question = {"role": "user", "content": f"What is the capital of {country}? One word."}
            answer = {"role": "assistant", "content": CAPITALS[country]}
            yield {"messages": [question, answer], "capital": CAPITALS[country]}

    def score(self, response, row):
        """Return 1 for the bare name, else 0."""
        return float(response.strip() == row["capital"])
