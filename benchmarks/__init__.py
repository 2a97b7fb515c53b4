"""One question per script; each prints its answer and stores it in results/ with its machine.

What is measured computes as a user's command does: Paddle's CPU libraries are told before they load
what the command line tells them. Without it our share of a step would look smaller than it is.
"""

from src.environment import prepare_environment

prepare_environment()
