"""The money play: a provider that loses answers, workers that die, and every prediction counted."""
