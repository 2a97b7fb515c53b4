"""Every configuration key: its type, default, meaning and unit.

The sentence under a field is its documentation: `run.py config --explain` and
docs/configuration.md are generated from it. Sections are frozen, unknown keys are refused, and a
rule that involves two keys names both. Reading files and overrides is `src.config`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from src.schema.alerts import AlertsConfig
from src.schema.base import Section
from src.schema.cloud import CloudConfig, NetworkConfig
from src.schema.data import (
    AdequacyConfig,
    DataConfig,
    FiltersConfig,
    NormaliseConfig,
    SourceConfig,
    SplitsConfig,
)
from src.schema.evaluation import EvaluationConfig, MonitoringConfig
from src.schema.health import HealthConfig
from src.schema.interruption import InterruptionConfig, SuperviseConfig
from src.schema.serving import ServingConfig
from src.schema.student import StudentConfig
from src.schema.training import (
    ArchitectureConfig,
    LoraConfig,
    TeacherConfig,
    TrainerConfig,
)

__all__ = [
    "AdequacyConfig",
    "AlertsConfig",
    "ArchitectureConfig",
    "CloudConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "FiltersConfig",
    "HealthConfig",
    "InterruptionConfig",
    "LoraConfig",
    "MonitoringConfig",
    "NetworkConfig",
    "NormaliseConfig",
    "Section",
    "ServingConfig",
    "SourceConfig",
    "SplitsConfig",
    "StudentConfig",
    "SuperviseConfig",
    "TeacherConfig",
    "TrainerConfig",
]


class Config(Section):
    """The whole configuration: one section per stage."""

    data: DataConfig = DataConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: ServingConfig = ServingConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    alerts: AlertsConfig = AlertsConfig()
    interruption: InterruptionConfig = InterruptionConfig()
    cloud: CloudConfig = CloudConfig()

    @model_validator(mode="after")
    def _keep_folders_apart(self) -> Config:
        """A stage replaces what it finds in its folder, so none may have another's."""
        folders = [
            ("data.output_dir", self.data.output_dir),
            ("teacher.output_dir", self.teacher.output_dir),
            ("student.output_dir", self.student.output_dir),
        ]
        for number, (key, folder) in enumerate(folders):
            for other, theirs in folders[:number]:
                if Path(folder).absolute() == Path(theirs).absolute():
                    raise ValueError(f"{other} and {key} are both {folder}; give each its own")
        if self.student.teacher is not None:
            teacher, own = (
                Path(folder).absolute()
                for folder in (self.student.teacher, self.student.output_dir)
            )
            if own in (teacher, *teacher.parents) or teacher in own.parents:
                raise ValueError(
                    f"student.teacher={self.student.teacher} and student.output_dir="
                    f"{self.student.output_dir} are one folder or one in the other, and training "
                    "replaces what is in the latter; set another student.output_dir"
                )
        return self
