#!/bin/sh
# The state of a job, by its id, as Snakemake wants to hear it: success, running or failed. Here of Slurm.
case "$(sacct --allocations --noheader --format state --jobs "$1" | head -1)" in
  *COMPLETED*) echo success ;;
  *RUNNING* | *PENDING* | *REQUEUED* | *COMPLETING* | *SUSPENDED* | *PREEMPTED* | "") echo running ;;
  *) echo failed ;;
esac
