"""Miniatures of what came after GPT-3, one small module each."""
