"""A GitHub to test against: stateful, honest to GitHub's own description, and able to misbehave."""

from tests.github_standin.server import GitHubStandIn

__all__ = ["GitHubStandIn"]
