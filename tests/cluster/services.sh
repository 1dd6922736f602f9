#!/bin/bash
# A whole Slurm on this machine, for the tests of this folder: slurmctld, slurmd, slurmdbd on MariaDB, munge.
#
#   sudo tests/cluster/services.sh up [FOLDER]     default: /var/tmp/reid-cluster; /etc/slurm/ gets links to it
#   sudo tests/cluster/services.sh down [FOLDER]   ends what it started, and removes the folder
#
# Debian or Ubuntu, as root: apt-get install slurm-wlm slurmdbd munge mariadb-server (with --no-install-recommends).
# Everything listens on 127.0.0.1. Four device files stand for GPUs: Slurm counts them and hands them out.
# It is a toy: the password of its data base is in this file. Not for a machine where others can log in.
set -euo pipefail

action=${1:-}
folder=$(realpath -m "${2:-/var/tmp/reid-cluster}")
host=$(hostname -s)
database="$folder/mariadb/mysqld.sock"

say() { echo "services.sh: $*" >&2; }

wait_for() { # what, command...: up to 30 s
  local what=$1
  shift
  for _ in $(seq 150); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  say "error: $what does not answer; see $folder/log"
  exit 1
}

configure() {
  mkdir -p "$folder"/{state,spool,log,run,etc,munge,mariadb}
  for number in 0 1 2 3; do # a plain file is refused: "not a valid character or block device"
    [ -e "$folder/gpu$number" ] || mknod "$folder/gpu$number" c 1 3
  done
  [ -e "$folder/etc/munge.key" ] || dd if=/dev/urandom of="$folder/etc/munge.key" bs=1024 count=1 status=none
  chown -R munge "$folder/munge" "$folder/etc/munge.key"
  chmod 600 "$folder/etc/munge.key"
  chown -R mysql "$folder/mariadb"

  cat >"$folder/etc/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
SlurmUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=16817
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass=$folder/munge/socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
DefMemPerCPU=1000
ReturnToService=2
MpiDefault=none
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
JobRequeue=1
KillWait=20
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 Port=16818 CPUs=32 RealMemory=100000 Gres=gpu:4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PreemptMode=REQUEUE
CONF
  cat >"$folder/etc/gres.conf" <<CONF
AutoDetect=off
Name=gpu File=$folder/gpu[0-3]
CONF
  cat >"$folder/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13307
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
CommunicationParameters=NoInAddrAny
CONF
  chmod 600 "$folder/etc/slurmdbd.conf"
  cat >"$folder/etc/mariadb.cnf" <<CONF
[mysqld]
datadir=$folder/mariadb/data
socket=$database
pid-file=$folder/mariadb/mysqld.pid
bind-address=127.0.0.1
port=13307
innodb_buffer_pool_size=128M
innodb_lock_wait_timeout=900
user=mysql
CONF
}

up() {
  for program in slurmctld slurmd slurmdbd munged mysqld; do
    [ -x "$(command -v $program || echo "/usr/sbin/$program")" ] || { say "error: $program is missing, see above"; exit 1; }
  done
  configure
  # jobs find it there: the Slurm plugin takes SLURM_CONF out of their environment
  if [ -e /etc/slurm/slurm.conf ] && [ ! /etc/slurm/slurm.conf -ef "$folder/etc/slurm.conf" ]; then
    say "error: this machine has a Slurm of its own (/etc/slurm/slurm.conf)"
    exit 1
  fi
  mkdir -p /etc/slurm
  ln -sfn "$folder"/etc/{slurm,gres,slurmdbd}.conf /etc/slurm/
  if [ ! -d "$folder/mariadb/data" ]; then
    mysql_install_db --defaults-file="$folder/etc/mariadb.cnf" --user=mysql >"$folder/log/mariadb.log" 2>&1
  fi
  setsid mysqld --defaults-file="$folder/etc/mariadb.cnf" >>"$folder/log/mariadb.log" 2>&1 </dev/null &
  wait_for MariaDB mysqladmin --socket="$database" ping
  mysql --socket="$database" -e "create database if not exists slurm_acct;
    create user if not exists slurm@'127.0.0.1' identified by 'slurm'; grant all on slurm_acct.* to slurm@'127.0.0.1';
    create user if not exists slurm@'localhost' identified by 'slurm'; grant all on slurm_acct.* to slurm@'localhost'"
  runuser -u munge -- /usr/sbin/munged --key-file="$folder/etc/munge.key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --force
  slurmdbd # reads slurmdbd.conf beside slurm.conf
  wait_for slurmdbd sacctmgr -n list cluster
  sacctmgr -i add cluster one >/dev/null || true
  sacctmgr -i add account team description=team >/dev/null || true
  sacctmgr -i add user "${SUDO_USER:-root}" account=team >/dev/null || true
  slurmctld
  wait_for slurmctld scontrol ping
  slurmd -N "$host"
  wait_for "the node" sh -c "sinfo -h -o %t | grep -qx 'idle\|mix\|alloc'"
  say "Slurm is up: sinfo, squeue, sacct"
}

down() {
  for file in "$folder"/run/{slurmd,slurmctld,slurmdbd}.pid "$folder"/munge/pid "$folder"/mariadb/mysqld.pid; do
    if [ -s "$file" ]; then
      pid=$(cat "$file")
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    fi
  done
  for file in slurm gres slurmdbd; do
    if [ "$(readlink "/etc/slurm/$file.conf")" = "$folder/etc/$file.conf" ]; then rm "/etc/slurm/$file.conf"; fi
  done
  rm -rf "$folder"
}

case $action in
  up | down) $action ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
