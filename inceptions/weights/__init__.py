"""Weights and everything that must travel with them: enters a trained model, leaves a folder that any command can use."""
