"""RLHF at small scale, in the open: SFT, K-wise reward modelling and PPO-ptx.

Read ``objectives`` (every equation), ``rollout`` (what a policy did) and ``ppo`` (the loop), in
this order. Importing the package loads nothing heavy: take what you need from its modules.
"""

__version__ = "0.1.0"
