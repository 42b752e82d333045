"""On-policy algorithms of OpenAI Baselines in TensorFlow 2, with expressive policies."""

__version__ = '0.1.0'
