"""Environment variables that Ray reads when it is imported."""

from typing import Final

# Ray prints nothing, writes no files and installs no signal handlers. Tensors lie in its object store once for each
# machine, and are read in place.
ENVIRONMENT: Final = {
    "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
