"""Alibaba Cloud: its ECS service through the official SDK, and the machine this process runs on."""
