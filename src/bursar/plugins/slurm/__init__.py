"""The `slurm` plugin: allocations as SLURM accounts, quota as GrpTRESMins, usage from sacct."""
