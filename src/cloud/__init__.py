"""Alibaba Cloud: renting its machines through its SDKs, keeping a run alive on them, being one."""
