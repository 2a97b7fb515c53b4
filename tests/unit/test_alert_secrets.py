"""Handing the secrets of alert channels over, and taking them back."""

import json
import stat

import pytest

from src.cloud.alert_secrets import for_instances, received
from src.config import load_config
from src.errors import ConfigError
from tests.fakes.spot_rental import rent, service, started, world

__all__ = ["rent", "service", "world"]  # fixtures

WECOM = "alerts.wecom={token_variable: TEAM_KEY}"
OBJECT = "bucket/runs/linguabridge/alert-secrets.json"


@pytest.fixture
def team_key(monkeypatch):
    monkeypatch.setenv("TEAM_KEY", "planted-key\n")


def test_what_the_channels_need_is_handed_over_for_one_user_alone(rent, tmp_path, team_key):
    rent(WECOM, "alerts.mail={host: h, sender: a, recipients: [b]}").begin(["teacher"])
    path = tmp_path / OBJECT
    assert json.loads(path.read_text()) == {"TEAM_KEY": "planted-key"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_missing_secret_is_refused_before_anything_is_rented(rent, world):
    with pytest.raises(ConfigError, match="environment variable TEAM_KEY is not set"):
        rent(WECOM).run(["teacher"])
    assert world.instances == {}


def test_channel_that_is_given_up_takes_its_secret_along(rent, tmp_path, team_key):
    rent(WECOM).begin(["teacher"])
    rent().begin(["teacher"])
    assert not (tmp_path / OBJECT).exists()


def test_object_goes_with_the_end_of_the_run(rent, tmp_path, team_key):
    rent(WECOM, "cloud.max_failures=1").run(["teacher"])
    assert not (tmp_path / OBJECT).exists()


def test_object_goes_when_the_run_is_taken_down(rent, tmp_path, team_key):
    rental = rent(WECOM)
    started(rental).turn()
    assert (tmp_path / OBJECT).exists()
    rental.down(lambda _: True)
    assert not (tmp_path / OBJECT).exists()


def instance_alerts(tmp_path):
    path = tmp_path / "bucket/runs/linguabridge/config.yaml"
    return load_config([path], []).alerts


def test_each_event_is_told_once_by_the_one_who_knows_it(rent, tmp_path, team_key):
    rent(WECOM, "alerts.kinds=[started, epoch, notice, rollback, finished]").begin(["teacher"])
    alerts = instance_alerts(tmp_path)
    assert (alerts.kinds, alerts.run_name) == (("epoch", "rollback"), "linguabridge")


def test_instance_that_is_left_to_itself_tells_everything(rent, tmp_path, team_key):
    rent(WECOM, "alerts.run_name=news").up(["teacher"])
    alerts = instance_alerts(tmp_path)
    assert (alerts.run_name, {"started", "finished"} <= set(alerts.kinds)) == ("news", True)


def test_kinds_that_nobody_wants_stay_unwanted():
    alerts = load_config([], ["alerts.kinds=[budget]"]).alerts
    assert for_instances(alerts, "run", is_kept=False).kinds == ("budget",)
    assert for_instances(alerts, "run", is_kept=True).kinds == ()


def test_files_are_private_and_gone_however_the_training_ends(tmp_path):
    place = tmp_path / "secrets"
    place.mkdir()
    (place / "OF_A_KILLED_WORKER").write_text("planted-old")

    def train():
        with received({"TEAM_KEY": "planted-key"}, tmp_path) as environment:
            assert environment == {"TEAM_KEY_FILE": str(place / "TEAM_KEY")}
            assert [path.name for path in place.iterdir()] == ["TEAM_KEY"]
            assert (place / "TEAM_KEY").read_text() == "planted-key"
            assert stat.S_IMODE((place / "TEAM_KEY").stat().st_mode) == 0o600
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            raise OSError("the training cannot be started")

    with pytest.raises(OSError, match="cannot be started"):
        train()
    assert not place.exists()
