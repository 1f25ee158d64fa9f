# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2154 # the scripts are expanded where they run, $label is of run
# The commands that are run with both runtimes.
#	same NAME SCRIPT		 must give the same
#	differs NAME WHY MUST SCRIPT	 may differ, for the reason given, if what dink-vm gave (exit code,
#					 states, output) matches the regular expression MUST
#	lacks NAME WHY MUST SCRIPT	 the same, for what a VM could do and dink-vm does not yet
#	long NAME SCRIPT		 as same, with LONG=1 only
# In a script: run, create and start_d (a container c1 that stays) take what follows `run`; $E is the
# engine, $R its flag for the runtime, $I an image. What c1 to c3 are at the end is compared as well.
# A line `on docker` or `on podman` limits what follows it to one engine, `on both` ends that.

# --- output and exit codes ---
same "nothing" 'run $I true'
for code in 1 2 9 42 124 128 130 137 143 200 254 255; do
	same "exit $code" "run \$I sh -c 'exit $code'"
done
for sig in HUP INT QUIT ABRT KILL SEGV PIPE ALRM TERM USR1; do
	same "death by SIG$sig" "run --init=false \$I sh -c 'sh -c \"kill -$sig \\\$\\\$\"; echo \$?'"
done
same "PID 1 ignores SIGTERM it has no handler for" 'run $I sh -c "kill -TERM 1; echo still"'
same "stdout and stderr apart" 'run $I sh -c "echo out; echo err >&2; exit 3"'
same "no such command" 'run $I no-such-command'
same "a command that is a folder" 'run $I /etc >/dev/null 2>&1; echo $?'
case $label in
docker | podman) same "the words for a command that is a folder" 'run $I /etc' ;;
*) differs "the words for a command that is a folder" "dink-vm has those of runc 1.1.5" "permission denied" 'run $I /etc' ;;
esac
same "a command that is no program" 'run $I /etc/passwd'
same "a script without interpreter" 'run $I sh -c "echo \"#!/no/such\" >/tmp/x; chmod +x /tmp/x; /tmp/x"'
same "a path that is not there" 'run $I /no/such/path'
same "no such working directory is made" 'run -w /made/here $I pwd'
same "a working directory that is a file" 'run -w /etc/passwd $I pwd'
same "an empty environment variable" 'run -e A= -e B=2 $I sh -c "echo [\$A] [\$B]"'
same "the environment" 'run -e A=1 -e "B=two words" $I env | grep -v ^HOSTNAME | sort'
same "PATH is the image's" 'run $I sh -c "echo \$PATH"'
same "HOME of root and of a user" 'run $I sh -c "echo \$HOME"; run -u user $I sh -c "echo \$HOME"'
same "arguments with blanks, quotes and newlines" 'run $I printf "[%s]" "a b" "c'"'"'d" "e\"f" "g
h" "" "*"'
same "a large output" 'run $I sh -c "head -c 3000000 /dev/zero | tr \"\\\\0\" x" | wc -c'
same "large outputs on both" 'run $I sh -c "for i in \$(seq 20000); do echo out \$i; echo err \$i >&2; done" 2>err | cksum; cksum <err'
# Podman dies of its broken pipe only until it passes signals on, some time after the start
same "a reader that goes away" 'run $I sh -c "sleep 1; yes | head -n 100000; sleep 2" | head -n 2'
same "--entrypoint" 'run --entrypoint echo $I hello'
same "--entrypoint emptied" 'run --entrypoint "" $I echo hello'

# --- stdin and terminals ---
same "stdin closed" 'run $I cat'
same "stdin passed" 'echo in | run -i $I cat'
same "stdin of some megabytes" 'head -c 5000000 /dev/zero | run -i $I wc -c'
same "stdin that ends early" 'head -c 5000000 /dev/zero | run -i $I head -c 10 | wc -c'
same "stdin not asked for" 'echo in | run $I cat'
same "what stdin is where it was not asked for" 'run $I sh -c "readlink /proc/self/fd/0; stat -Lc %t:%T /dev/stdin"'
same "what stdin is of an exec" 'start_d $I sleep 100; $E exec c1 sh -c "readlink /proc/self/fd/0; stat -Lc %t:%T /dev/stdin"; echo x | $E exec -i c1 sh -c "readlink /proc/self/fd/0 | cut -d: -f1; cat"'
same "what the stdio of exec -d is" 'start_d $I sleep 100; $E exec -d c1 sh -c "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 >/tmp/r"; sleep 0.7; $E exec c1 cat /tmp/r | sed "s/pipe:.*/pipe/"'
same "binary bytes" 'head -c 70000 /dev/urandom >f; run -i $I cat <f | cmp - f && echo same'
same "a terminal" 'run -t $I sh -c "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all"'
same "a terminal turns newlines" 'run -t $I printf "a\nb\n" | od -c'
same "a terminal has one output" 'run -t $I sh -c "echo out; echo err >&2" 2>/dev/null | tr -d "\r"'
same "TERM" 'run -t $I sh -c "echo \$TERM"; run $I sh -c "echo [\$TERM]"'
same "no controlling terminal without -t" 'run $I sh -c "tty; echo x >/dev/tty"'
same "/dev/stdin, /dev/stdout, /dev/stderr" 'echo in | run -i $I sh -c "cat /dev/stdin; echo o >/dev/stdout; echo e >/dev/stderr"'
same "/dev/console without a terminal" 'run $I sh -c "ls /dev/console 2>&1 | wc -l"'

# --- create, start, wait, rm ---
same "create and start" 'create $I echo hi; $E start -a c1'
same "start twice" 'create $I true; $E start c1; $E wait c1; $E start c1; $E wait c1'
same "wait for an exit code" 'start_d $I sh -c "sleep 0.2; exit 7"; $E wait c1'
same "logs" 'start_d $I sh -c "echo one; echo two >&2"; $E wait c1; $E logs c1'
same "logs -f ends with the container" 'start_d $I sh -c "for i in 1 2 3; do echo \$i; sleep 0.1; done"; $E logs -f c1'
same "logs --tail" 'start_d $I sh -c "seq 10"; $E wait c1 >/dev/null; $E logs --tail 2 c1'
same "attach sees what comes" 'start_d $I sh -c "sleep 1; echo seen; exit 4"; $E attach --no-stdin c1; echo $?'
same "attach with stdin" 'create -i $I cat; echo typed | $E start -ai c1'
same "stop with a handler" 'start_d $I sh -c "trap \"echo bye; exit 5\" TERM; echo up; while :; do sleep 0.1; done"; said up; $E stop -t 10 c1 >/dev/null; $E logs c1'
same "stop without a handler" 'start_d $I sleep 100; $E stop -t 1 c1 >/dev/null'
same "stop of one that ended" 'start_d $I true; $E wait c1; $E stop c1 >/dev/null; echo $?'
same "--stop-signal" 'start_d --stop-signal USR1 $I sh -c "trap \"exit 6\" USR1; echo up; while :; do sleep 0.1; done"; said up; $E stop -t 10 c1 >/dev/null'
same "kill" 'start_d $I sleep 100; $E kill c1 >/dev/null; $E wait c1'
same "kill --signal with a handler" 'start_d $I sh -c "trap \"echo got; exit 8\" INT; echo up; while :; do sleep 0.1; done"; said up; $E kill -s INT c1 >/dev/null; $E wait c1; $E logs c1'
same "kill with a number" 'start_d $I sh -c "trap \"exit 9\" HUP; echo up; while :; do sleep 0.1; done"; said up; $E kill -s 1 c1 >/dev/null; $E wait c1'
same "kill of one that ended" 'start_d $I true; $E wait c1; $E kill c1 2>&1 | grep -c "is not running\|can only kill"'
same "a signal that does not exist" 'start_d $I sleep 100; $E kill -s NOSUCH c1 2>&1 | tail -c 40'
same "restart" 'start_d $I sh -c "echo started; sleep 100"; said started; $E restart -t 0 c1 >/dev/null; sleep 0.3; $E inspect -f "{{.State.Status}}" c1; $E logs c1 | sort -u'
same "rm of a running one is refused" 'start_d $I sleep 100; $E rm c1 >/dev/null 2>&1; echo $?'
same "rm -f of a running one" 'start_d $I sleep 100; $E rm -f $NOW c1 >/dev/null; $E ps -aq | wc -l'
same "a name that is taken" 'create $I true; $E create --name c1 $R $I true >/dev/null 2>&1; echo $?'
same "rename" 'start_d $I sleep 100; $E rename c1 c2; $E exec c2 echo renamed'
same "--restart on-failure:2" 'start_d --restart on-failure:2 $I sh -c "echo try; exit 3"; until [ "$($E inspect -f "{{.State.Status}}" c1)" = exited ] && [ "$($E logs c1 | wc -l)" = 3 ]; do sleep 0.3; done; $E logs c1'
on docker # Podman wants catatonit for it
same "--init reaps and passes signals" 'start_d --init $I sh -c "trap \"exit 4\" TERM; echo up; while :; do sleep 0.1; done"; said up; $E exec c1 ps -o pid,comm | awk "\$1 == 1 {print \$2}" | sed "s/docker-init\|catatonit/init/"; $E stop -t 5 c1 >/dev/null'
on both
same "--rm leaves nothing" 'run --name c3 $I true; $E ps -aq | wc -l'
same "the first process is PID 1" 'run $I sh -c "echo \$\$"'
same "orphans become PID 1's" 'run $I sh -c "(sleep 1 &) ; sleep 0.2; ps -o ppid,comm | grep sleep"'

# a stop of Podman's that meets a restart fails or is in vain, with either runtime
halted() { local n; $E stop -t 0 c1 >/dev/null 2>&1; n=$($E logs c1 | wc -l); sleep 2; [ "$($E inspect -f "{{.State.Running}}" c1) $($E logs c1 | wc -l)" = "false $n" ]; }
same "--restart always, until it is stopped" 'start_d --restart always $I sh -c "echo up; exit 1"; for i in $(seq 100); do [ "$($E logs c1 | wc -l)" -ge 2 ] && break; sleep 0.1; done; [ "$($E logs c1 | wc -l)" -ge 2 ] && echo again; wait_for 40 halted; $E inspect -f "{{.State.Running}}" c1; $E rm -f $NOW c1 >/dev/null'
same "detach keys" 'start_d -it $I sh -c "while :; do sleep 0.1; done"; (sleep 0.7; printf "\020\021"; sleep 1) | timeout 10 script -qec "$E attach c1" /dev/null >/dev/null; echo $?; $E inspect -f "{{.State.Status}}" c1'
same "detach and attach again" 'start_d -it $I cat; (sleep 0.7; printf "one\r\020\021"; sleep 1) | timeout 10 script -qec "$E attach c1" /dev/null >/dev/null; (sleep 0.7; printf "two\r"; sleep 0.5; printf "\004"; sleep 1) | timeout 10 script -qec "$E attach c1" /dev/null >/dev/null; $E wait c1; $E logs c1 | tr -d "\r" | sort -u'
same "--detach-keys of one's own" 'start_d -it $I sh -c "while :; do sleep 0.1; done"; (sleep 0.7; printf "\001x"; sleep 1) | timeout 10 script -qec "$E attach --detach-keys ctrl-a,x c1" /dev/null >/dev/null; $E inspect -f "{{.State.Status}}" c1'
same "two attached at once" 'start_d $I sh -c "sleep 2; echo both"; $E attach --no-stdin c1 >1 & $E attach --no-stdin c1 >2; wait; cat 1 2'
same "a terminal's size follows" 'start_d -it $I sh -c "trap \"stty size; exit 3\" WINCH; echo up; while :; do sleep 0.1; done"; said up; (sleep 3) | timeout 10 script -qec "stty rows 33 cols 77; $E attach c1" /dev/null >/dev/null; $E wait c1; $E logs c1 | tr -d "\r" | sort -u'
same "events" 'sleep 1; t=$(date +%s); create $I sh -c "exit 3"; $E start c1 >/dev/null; $E wait c1; sleep 1; $E events --since $t --until $(date +%s) --filter container=c1 --format "{{.Status}}" | sort'

same "start -a gives the exit code" 'create $I sh -c "echo out; echo err >&2; exit 12"; $E start -a c1; echo $?; $E start -a c1; echo $?; $E wait c1'
same "start of one that runs" 'start_d $I sleep 100; $E start c1; $E inspect -f "{{.State.Status}}" c1'
same "attach --sig-proxy" 'start_d $I sh -c "trap \"echo got; exit 7\" TERM; echo up; while :; do sleep 0.1; done"; said up; $E attach --no-stdin --sig-proxy c1 >o & sleep 1; kill -TERM $!; $E wait c1; $E logs c1'
same "attach --sig-proxy=false" 'start_d $I sh -c "trap \"exit 7\" TERM; echo up; while :; do sleep 0.1; done"; said up; $E attach --no-stdin --sig-proxy=false c1 >o 2>&1 & sleep 1; kill -TERM $!; sleep 0.5; $E inspect -f "{{.State.Status}}" c1; $E kill c1 >/dev/null; $E wait c1'
same "signals of the terminal's client" '$E run --rm $R --network none --name c3 $I sh -c "trap \"echo got; exit 7\" TERM; echo up; while :; do sleep 0.1; done" >o & wait_for 40 grep -q up o; sleep 0.5; kill -TERM $!; wait $!; echo $?; cat o'
same "run -d --rm" 'start_d --rm $I sh -c "sleep 0.5; exit 3"; for i in $(seq 100); do $E ps -aq | grep -q . || break; sleep 0.1; done; $E ps -aq | wc -l'
same "rename of a running one, by its new name" 'start_d $I sh -c "trap \"exit 6\" TERM; echo up; while :; do sleep 0.1; done"; said up; $E rename c1 c2; $E logs c2; $E stop -t 10 c2 >/dev/null; $E inspect -f "{{.Name}} {{.State.ExitCode}}" c2 | tr -d /; $E start c2; $E rm -f $NOW c2'
same "logs with times, since, until" 'start_d $I sh -c "echo one; sleep 4; echo two"; said one; sleep 1; t=$(date +%s); $E wait c1 >/dev/null; $E logs -t c1 | grep -cE "^[0-9]{4}-[0-9-]+T.* (one|two)"; $E logs --since $t c1; $E logs --until $t c1'
same "rm -f of a paused one" 'start_d $I sleep 100; $E pause c1 >/dev/null; $E rm -f $NOW c1 >/dev/null 2>&1; $E ps -aq | wc -l'
same "a paused one is paused once" 'start_d $I sleep 100; $E pause c1 >/dev/null; $E pause c1 >/dev/null 2>&1; echo $?; $E unpause c1 >/dev/null; $E unpause c1 >/dev/null 2>&1; echo $?'
on docker
same "wait for the next exit, for the removal" 'create $I sh -c "sleep 1; exit 8"; curl -s --unix-socket $T/docker.sock -X POST "http://d/containers/c1/wait?condition=next-exit" >1 & sleep 0.3; curl -s --unix-socket $T/docker.sock -X POST "http://d/containers/c1/wait?condition=removed" >2 & sleep 0.3; $E start c1; wait %1; $E rm c1; wait %2; cat 1 2'
same "--log-driver json-file, local" 'for d in json-file local; do start_d --log-driver $d $I sh -c "echo $d; exit 2"; $E wait c1; $E logs c1; $E inspect -f "{{.HostConfig.LogConfig.Type}}" c1; $E rm c1; done'
same "exec --detach-keys" 'start_d $I sleep 100; (sleep 1; printf "\001x"; sleep 1) | timeout 20 script -qec "$E exec -it --detach-keys ctrl-a,x c1 sh -c \"sleep 3; echo done >/tmp/d\"" /dev/null >/dev/null; sleep 3; $E exec c1 cat /tmp/d'
same "--gpus" 'run --gpus all $I true'
on podman
same "wait for a condition" 'create $I sh -c "sleep 1; exit 8"; ($E wait --condition running c1 >1; echo runs >>2) & sleep 0.3; $E start c1; wait; $E wait --condition exited c1; cat 2'
same "--log-driver k8s-file, json-file, none" 'for d in k8s-file json-file none; do start_d --log-driver $d $I sh -c "echo $d; exit 2"; $E wait c1; $E logs c1 2>/dev/null; $E rm c1; done'
same "--replace" 'start_d $I sleep 100; start_d --replace $I sh -c "exit 4"; $E wait c1'
same "--timeout" 'start_d --timeout 1 $I sleep 100; $E wait c1'
same "init, then start" 'create $I sh -c "echo hi; exit 2"; $E init c1; $E inspect -f "{{.State.Status}}" c1; $E start -a c1; echo $?'
on both

# --- exec ---
same "exec" 'start_d $I sleep 100; $E exec c1 echo hi'
for code in 0 1 77 255; do
	same "exec exits $code" "start_d \$I sleep 100; \$E exec c1 sh -c 'exit $code'; echo \$?"
done
same "exec of no such command" 'start_d $I sleep 100; $E exec c1 no-such-command; echo $?'
same "exec of a path that is not there" 'start_d $I sleep 100; $E exec c1 /no/such; echo $?'
same "exec of a folder is refused" 'start_d $I sleep 100; $E exec c1 /etc >/dev/null 2>&1 || echo refused'
case $label in
docker | podman) same "the words for an exec of a folder" 'start_d $I sleep 100; $E exec c1 /etc; echo $?' ;;
*) differs "the words for an exec of a folder" "dink-vm has those of runc 1.1.5, by which Podman gives 126" "permission denied" 'start_d $I sleep 100; $E exec c1 /etc; echo $?' ;;
esac
same "exec of a file that is no program" 'start_d $I sleep 100; $E exec c1 /etc/passwd; echo $?'
same "exec dies by a signal" 'start_d $I sleep 100; $E exec c1 sh -c "kill -KILL \$\$"; echo $?'
same "exec -i" 'start_d $I sleep 100; echo in | $E exec -i c1 cat'
same "exec -i of some megabytes" 'start_d $I sleep 100; head -c 5000000 /dev/zero | $E exec -i c1 wc -c'
same "exec, stdout and stderr apart" 'start_d $I sleep 100; $E exec c1 sh -c "echo out; echo err >&2"'
same "exec -t" 'start_d $I sleep 100; $E exec -t c1 sh -c "test -t 1 && echo tty" | tr -d "\r"'
same "exec -e and -w" 'start_d $I sleep 100; $E exec -e A=b -w /tmp c1 sh -c "echo \$A; pwd"'
same "exec -u" 'start_d $I sleep 100; $E exec -u user c1 id; $E exec -u 7:8 c1 id; $E exec -u 1000 c1 id'
same "exec -e -w -u -i together" 'start_d $I sleep 100; echo in | $E exec -i -e A=b -e C= -w /tmp -u 5:6 c1 sh -c "cat; echo \$A [\$C]; pwd; id"'
same "exec --env-file" 'start_d $I sleep 100; printf "A=1\nB=two words\n" >e; $E exec --env-file e c1 sh -c "echo \$A \$B"'
same "exec -u has the capabilities of a user" 'start_d $I sleep 100; $E exec -u user c1 grep Cap /proc/self/status; $E exec c1 grep Cap /proc/self/status'
same "exec -it ends with its code" 'start_d $I sleep 100; timeout 20 script -qec "$E exec -it c1 sh -c \"exit 9\"" /dev/null </dev/null; echo $?'
same "exec -u of nobody there" 'start_d $I sleep 100; $E exec -u nosuch c1 id >/dev/null 2>&1; echo $?'
same "exec -w to nowhere" 'start_d $I sleep 100; $E exec -w /no/where c1 pwd >/dev/null 2>&1; echo $?'
same "exec -d" 'start_d $I sleep 100; $E exec -d c1 sh -c "echo done >/tmp/d"; sleep 0.7; $E exec c1 cat /tmp/d'
differs "exec --privileged" "all capabilities in the VM also where the host withholds one" "^1$" 'start_d $I sleep 100; $E exec --privileged c1 grep CapEff /proc/self/status | wc -l'
same "exec in one that ended" 'start_d $I true; $E wait c1; $E exec c1 true >/dev/null 2>&1; echo $?'
same "exec sees the container's processes" 'start_d $I sleep 100; $E exec c1 ps -o comm | sort'
lacks "the session of an exec" "crun starts it in one of its own, which the container's processes see as 0" "^0 0$" 'start_d $I sleep 100; $E exec c1 awk "{print (\$5 > 0), (\$6 > 0)}" /proc/self/stat'
same "what exec leaves in the background" 'start_d $I sleep 100; $E exec c1 sh -c "sleep 50 >/dev/null 2>&1 & echo left"; $E exec c1 ps -o comm | grep -c sleep'
same "ten at once" 'start_d $I sleep 100; for i in 1 2 3 4 5 6 7 8 9 10; do $E exec c1 sh -c "echo $i" & done | sort -n; wait'

# --- the view of itself ---
same "--hostname" 'run --hostname h1 $I hostname; run --hostname h1 $I cat /etc/hostname'
same "the hostname is the id" '[ "$(run --name c3 $I hostname | wc -c)" = 13 ] && echo ok'
same "--add-host" 'run --add-host other:10.9.8.7 $I grep other /etc/hosts'
same "--dns" 'run --network none --dns 9.9.9.9 --dns-search example.org --dns-option ndots:3 $I cat /etc/resolv.conf | grep -v "^#" | sort'
same "/proc/self/cgroup is a root" 'run --cgroupns private $I sh -c "cut -d: -f3 /proc/self/cgroup | sort -u | head -n 1"'
same "mounts of a container" 'run $I awk "{print \$2, \$3}" /proc/mounts | grep -v "^/ \|/etc/\|/run/.containerenv\|cgroup" | sort'
same "what masks a file" 'run $I grep " /proc/kcore " /proc/mounts'
same "/dev" 'run $I ls /dev | sort | grep -v "^console\|^core"'
same "/dev nodes" 'run $I sh -c "ls -lL /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty" | awk "{print \$1,\$5,\$6,\$NF}"'
same "/dev links" 'run $I sh -c "readlink /dev/fd /dev/stdin /dev/ptmx"'
same "/dev/shm" 'run $I sh -c "df -k /dev/shm | tail -n 1 | awk \"{print \\\$2}\"; echo x >/dev/shm/y; cat /dev/shm/y"'
same "--shm-size" 'run --shm-size 8m $I sh -c "df -k /dev/shm | tail -n 1 | awk \"{print \\\$2}\""'
same "umask" 'run $I sh -c umask'
# Signal 32 is glibc's own: its posix_spawn(), which make uses, leaves it ignored, and runc hands it on.
same "blocked and ignored signals" 'run $I grep "^Sig[BI]" /proc/self/status | sed s/80000000$/00000000/; run -t $I grep "^Sig[BI]" /proc/self/status | sed s/80000000/00000000/'
same "blocked and ignored signals of an exec" 'start_d $I sleep 100; $E exec c1 grep "^Sig[BI]" /proc/self/status | sed s/80000000$/00000000/'
same "open descriptors" 'run $I sh -c "ls /proc/self/fd | wc -l"'
same "--ulimit" 'run --ulimit nofile=333:444 --ulimit core=0 --ulimit nproc=1024:1024 $I sh -c "ulimit -n; ulimit -Hn; ulimit -c"'
same "--ulimit nproc" 'run --ulimit nproc=50:60 --ulimit nofile=1024:1024 $I grep processes /proc/self/limits'
same "oom_score_adj" 'run --oom-score-adj 300 $I cat /proc/self/oom_score_adj'
same "--sysctl" 'run --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=65000 $I cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax'
same "a sysctl that is not there" 'run --sysctl net.no_such=1 $I true >/dev/null 2>&1; echo $?'
same "--label and --annotation change nothing" 'run --label a=b $I true'
differs "uname -r" "a VM has a kernel of its own" "^[0-9]+[.][0-9]" 'run $I uname -r'
same "uname -s -m -n" 'run --hostname h $I uname -smn'

same "--uts host" '[ "$(run --uts host $I hostname)" = "$(hostname)" ] && echo ours'
same "--cgroup-parent" 'run --cgroup-parent /dinkcase $I echo ok; sleep 1; find /sys/fs/cgroup -depth -type d -path "*/dinkcase*" -exec rmdir {} + 2>/dev/null; :'
differs "--cgroupns host" "a guest has cgroups of its own, and none of the host's above them" "^/$" 'run --cgroupns host $I sh -c "cut -d: -f3 /proc/self/cgroup | sort -u | head -n 1"'
on podman
same "--uidmap" 'run --uidmap 0:100000:65536 $I sh -c "cat /proc/self/uid_map; id -u; echo x >/tmp/x; stat -c %u /tmp/x /etc/passwd"'
same "--uidmap and mount points that are not there" 'mkdir v; chmod 777 v; run --uidmap 0:100000:65536 -v $PWD/v:/a/b/c -v $T/rootfs/etc/group:/x/y:ro $I sh -c "stat -c \"%n %u %g %a\" /a /a/b /x; wc -l </x/y; echo x >/a/b/c/f; stat -c %u /a/b/c/f"; stat -c %u v/f'
lacks "--uidmap: root writes where a mode forbids it" "virtiofsd acts as the file's user, whom a user namespace's root cannot overrule" "Permission denied" 'run --uidmap 0:100000:65536 $I sh -c "mkdir -m 555 /tmp/d; echo x >/tmp/d/f; echo \$?"'
same "--userns auto" 'run --userns auto $I true >/dev/null 2>&1; echo $?'
same "--secret" 'echo hidden | $E secret create s1 - >/dev/null; run --secret s1 $I cat /run/secrets/s1; $E secret rm s1 >/dev/null'
same "--umask, --tz" 'run --umask 0027 $I sh -c umask; run --tz UTC $I date +%Z'
differs "--preserve-fds" "no descriptor of the host's is one in a VM" "open descriptors" 'echo fd >f; exec 3<f; run --preserve-fds 1 $I sh -c "cat <&3"'
on docker
same "--userns host" 'run --userns host $I cat /proc/self/uid_map'
on both

# --- users and privileges ---
same "--user by name, number and group" 'run -u user $I id; run -u 5:6 $I id; run -u 5 $I id; run -u user:root $I id'
same "--group-add" 'run -u user --group-add 99 --group-add root $I id'
same "--user that is not there" 'run -u nosuch $I id >/dev/null 2>&1; echo $?'
same "capabilities" 'run $I grep Cap /proc/self/status'
same "capabilities of a user" 'run -u user $I grep Cap /proc/self/status'
same "--cap-drop ALL" 'run --cap-drop ALL $I grep Cap /proc/self/status'
same "--cap-add" 'run --cap-add SYS_TIME --cap-add NET_ADMIN $I grep Cap /proc/self/status'
same "--cap-drop one" 'run --cap-drop CHOWN $I sh -c "chown 1 /tmp; echo \$?"'
same "--cap-drop ALL --cap-add CHOWN" 'run --cap-drop ALL --cap-add CHOWN $I sh -c "chown 1 /tmp; echo \$?; chroot / true; echo \$?"'
same "no new privileges" 'run --security-opt no-new-privileges $I grep NoNewPrivs /proc/self/status; run $I grep NoNewPrivs /proc/self/status'
same "seccomp is on" 'run $I grep "^Seccomp:" /proc/self/status'
same "seccomp=unconfined" 'run --security-opt seccomp=unconfined $I grep "^Seccomp:" /proc/self/status'
same "a seccomp profile" 'printf "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\"}]}" >p.json; run --security-opt seccomp=p.json $I mkdir /tmp/x; echo $?'
same "the default profile refuses" 'run $I sh -c "unshare -U true; echo \$?; mount -t tmpfs t /tmp; echo \$?"'
same "masked and read-only paths" 'run $I sh -c "cat /proc/kcore | head -c 1 | wc -c; echo x >/proc/sys/kernel/hostname; echo \$?; ls /proc/scsi 2>/dev/null | wc -l; ls /sys/firmware | wc -l"'
same "/proc/sysrq-trigger" 'run $I sh -c "echo h >/proc/sysrq-trigger; echo \$?"'
same "/sys is read-only" 'run $I sh -c "mkdir /sys/fs/x; echo \$?"'
same "mknod is allowed, use is not" 'run $I sh -c "mknod /tmp/sda b 8 0; echo \$?; head -c 1 /tmp/sda; echo \$?"'
same "ping" 'run $I sh -c "ping -c 1 127.0.0.1 >/dev/null; echo \$?"'

# --- files ---
same "--read-only" 'run --read-only $I sh -c "echo x >/new; echo \$?; echo y >/dev/shm/z; echo \$?"'
same "--tmpfs" 'run --tmpfs /t:size=2m,mode=1770 $I sh -c "stat -c %a /t; df -k /t | tail -n 1 | awk \"{print \\\$2}\"; grep \" /t \" /proc/mounts | cut -d\" \" -f3"'
same "--read-only --tmpfs" 'run --read-only --tmpfs /t $I sh -c "echo x >/t/y; cat /t/y"'
same "a volume, read-write" 'mkdir v; echo host >v/a; run -v $PWD/v:/v $I sh -c "cat /v/a; echo guest >/v/b"; cat v/b'
same "a volume, read-only" 'mkdir v; echo host >v/a; run -v $PWD/v:/v:ro $I sh -c "cat /v/a; echo x >/v/b; echo \$?"; ls v'
same "a volume that is a file" 'echo one >f; run -v $PWD/f:/etc/f $I sh -c "cat /etc/f; echo two >>/etc/f"; cat f'
same "a read-only file" 'echo one >f; run -v $PWD/f:/f:ro $I sh -c "echo x >/f; echo \$?; cat /f"'
same "nested volumes" 'mkdir -p a/b c; echo c >c/x; run -v $PWD/a:/a -v $PWD/c:/a/b $I sh -c "cat /a/b/x; ls /a"'
same "nested volumes, the other order" 'mkdir -p a/b c; echo c >c/x; run -v $PWD/c:/a/b -v $PWD/a:/a $I cat /a/b/x'
same "a read-only volume with a writable one in it" 'mkdir -p a/b c; run -v $PWD/a:/a:ro -v $PWD/c:/a/b $I sh -c "echo x >/a/y; echo \$?; echo z >/a/b/z; echo \$?"; ls c'
same "a volume over /etc/hosts" 'echo "1.2.3.4 mine" >h; run -v $PWD/h:/etc/hosts $I cat /etc/hosts'
same "a volume's owners and modes" 'mkdir v; touch v/a; chown 12:34 v/a; chmod 4750 v/a; run -v $PWD/v:/v $I stat -c "%u %g %a" /v/a'
same "what a user writes" 'mkdir v; chmod 777 v; run -u 1000:1000 -v $PWD/v:/v $I sh -c "echo x >/v/y; mkdir /v/d"; stat -c "%u %g %a %n" v/*'
same "links" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "echo x >a; ln a b; ln -s a c; stat -c %h a; readlink c; rm a; cat b; cat c"; ls v'
same "open after unlink" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "exec 5<>f; rm f; echo x >&5; stat -Lc %h /proc/self/fd/5; stat -Lc %s /proc/self/fd/5"; ls v'
same "rename over" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "echo 1 >a; echo 2 >b; mv b a; cat a; mkdir d e; mv d e/f; ls e"'
same "a fifo" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "mkfifo p; (echo through >p &); cat p"'
same "locks" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "flock l sh -c \"flock -n l echo twice; echo \\\$?\""'
same "sparse files" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "truncate -s 10M s; stat -c \"%s %b\" s"'
same "times" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "touch -d @1000000 a; stat -c %Y a"; stat -c %Y v/a'
same "many files" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "for i in \$(seq 500); do echo \$i >f\$i; done; ls | wc -l; cat f* | wc -l; rm f*; ls | wc -l"'
same "a full file system" 'run --tmpfs /t:size=64k $I sh -c "head -c 1000000 /dev/zero >/t/f; echo \$?; stat -c %s /t/f"'
same "names with odd bytes" 'mkdir v; run -v $PWD/v:/v -w /v $I sh -c "touch \"a b\" \"n
l\" ä; ls | wc -l"; ls v | wc -l'
same "the root is writable" 'run $I sh -c "echo x >/new; cat /new; rm /etc/group; ls /etc/group; echo \$?"'
same "what the image has stays" 'run $I sh -c "rm -r /etc"; run $I ls /etc/passwd'
same "a named volume" '$E volume create vol >/dev/null; run -v vol:/v $I sh -c "echo x >/v/y"; run -v vol:/v $I cat /v/y'
same "a named volume starts with the image's files" 'run -v vol:/etc $I ls /etc/passwd'
same "an anonymous volume" 'run -v /anon $I sh -c "echo x >/anon/y; cat /anon/y"'
same "--volumes-from" 'create -v /data $I true; run --volumes-from c1 $I sh -c "echo y >/data/x; ls /data"'
same "--mount type=bind" 'mkdir v; echo x >v/a; run --mount type=bind,src=$PWD/v,dst=/v,readonly $I sh -c "cat /v/a; touch /v/b; echo \$?"'
same "--mount type=tmpfs" 'run --mount type=tmpfs,dst=/t,tmpfs-size=1m $I sh -c "df -k /t | tail -n 1 | awk \"{print \\\$2}\""'
same "a volume that is not there" 'run --mount type=bind,src=/no/such,dst=/v $I true >/dev/null 2>&1; echo $?'
same "propagation: a slave sees what comes later" 'mkdir v; run -v $PWD/v:/v:rslave $I ls /v'
same "--device, a character device" 'run --device /dev/fuse $I sh -c "test -c /dev/fuse && stat -c %t:%T /dev/fuse"'
differs "--device, a block device" "a VM mounts disks; it is told to bind mount it" "cannot give the block device" 'run --device /dev/loop0 $I true'
same "--device under another name" 'run --device /dev/null:/dev/mine $I sh -c "echo x >/dev/mine; stat -c %t:%T /dev/mine"'
same "cp into a running one" 'start_d $I sleep 100; echo x >f; $E cp f c1:/tmp/f; $E exec c1 cat /tmp/f'
same "cp from a running one" 'start_d $I sleep 100; $E exec c1 sh -c "echo y >/tmp/g"; $E cp c1:/tmp/g g; cat g'
same "cp into and from a volume of a running one" 'mkdir v; start_d -v $PWD/v:/v $I sleep 100; echo x >f; $E cp f c1:/v/f; cat v/f; $E cp c1:/v/f g; cat g; $E exec c1 cat /v/f'
same "cp follows no link out of the container" 'start_d $I sh -c "ln -s /etc/passwd /tmp/l; mkdir /tmp/d; ln -s ../../../../../../../../etc /tmp/d/up; echo up; sleep 100"; said up; $E cp c1:/tmp/d/up/group g; wc -l <g; $E cp c1:/etc/passwd p; wc -l <p'
same "cp of a folder" 'start_d $I sleep 100; mkdir -p d/e; echo x >d/e/f; $E cp d c1:/tmp/; $E exec c1 cat /tmp/d/e/f; $E cp c1:/tmp/d back; cat back/e/f'
same "cp to and from a stopped one" 'create $I true; echo x >f; $E cp f c1:/tmp/f; $E cp c1:/tmp/f g; cat g'
same "diff" 'start_d $I sh -c "echo x >/tmp/new; rm /etc/group; echo up; sleep 100"; said up; sleep 0.2; $E diff c1 | grep -v "/run\|/dev\|/proc\|/sys\|hosts\|resolv\|hostname\|mtab" | sort'
same "commit" 'start_d $I sh -c "echo kept >/kept; echo up; sleep 100"; said up; $E commit -q c1 img:2 >/dev/null; run img:2 cat /kept; $E rmi img:2 >/dev/null'
same "export" 'start_d $I sh -c "echo kept >/kept; echo up; sleep 100"; said up; $E export c1 | tar -xO kept 2>/dev/null || $E export c1 | tar -xO ./kept'

# --- limits ---
same "--memory" 'run -m 64m $I cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null'
same "--memory kills what takes more" 'start_d -m 32m --memory-swap 32m $I sh -c "tail /dev/zero; echo \$?"; $E wait c1; $E logs c1'
same "--memory kills the container" 'start_d -m 32m --memory-swap 32m $I sh -c "exec tail /dev/zero"; $E wait c1'
same "--memory kills an exec" 'start_d -m 32m --memory-swap 32m $I sleep 100; $E exec c1 tail /dev/zero; echo $?; $E inspect -f "{{.State.Running}}" c1; $E stop -t 0 c1 >/dev/null'
same "--memory is enough for what fits" 'start_d -m 64m --memory-swap 64m $I sh -c "head -c 40000000 /dev/zero | tail -c 40000000 | wc -c"; $E wait c1; $E logs c1'
same "--pids-limit" 'run --pids-limit 20 $I sh -c "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null"'
same "--pids-limit holds" 'run --pids-limit 10 $I sh -c "for i in \$(seq 15); do sleep 1 & done; wait" 2>&1 | grep -c "fork"'
differs "--cpus" "a VM has that many processors, in whole ones" "^1$" 'run --cpus 1 $I nproc'
same "update --cpus" 'start_d --cpus 1 $I sleep 100; $E update --cpus 0.5 c1 >/dev/null; $E exec c1 sh -c "echo \$(cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us)"'
same "update --pids-limit" 'start_d $I sleep 100; $E update --pids-limit 33 c1 >/dev/null; $E exec c1 cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null'
same "update of one that ended" 'start_d $I true; $E wait c1; $E update -m 64m --memory-swap 64m c1 >/dev/null 2>&1; echo $?'
same "update --memory" 'start_d -m 64m $I sleep 100; $E update -m 96m --memory-swap 96m c1 >/dev/null; $E exec c1 cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null'
same "pause and unpause" 'start_d $I sh -c "while :; do echo x; sleep 0.05; done"; $E pause c1 >/dev/null; $E inspect -f "{{.State.Status}}" c1; sleep 0.3; a=$($E logs c1 | wc -l); sleep 0.5; [ "$a" = "$($E logs c1 | wc -l)" ] && echo still; $E unpause c1 >/dev/null; sleep 0.5; [ "$a" -lt "$($E logs c1 | wc -l)" ] && echo on'
same "exec in a paused one" 'start_d $I sleep 100; $E pause c1 >/dev/null; $E exec c1 true >/dev/null 2>&1; echo $?; $E unpause c1 >/dev/null'
same "stop of a paused one" 'start_d $I sleep 100; $E pause c1 >/dev/null; $E unpause c1 >/dev/null; $E stop -t 0 c1 >/dev/null; echo $?'
same "top without words" 'start_d $I sh -c "sleep 77; true"; sleep 1; $E top c1 | awk "{print \$1, \$NF}"'
on podman
same "top by Podman's own words" 'start_d -u user $I sh -c "sleep 77 & sleep 88"; sleep 1; $E exec -u 7 -d c1 sleep 99; sleep 0.5; $E top c1 user group ppid comm state capeff seccomp args | tr -s " "; $E top c1 pid etime time stime vsz rss | awk "NR > 1 {print NF >= 6}"; $E top -l >/dev/null 2>&1; echo $?'
on both
top='start_d $I sh -c "sleep 77 & sleep 88"; sleep 0.5; $E top c1 -eo pid,args | awk "NR > 1 {\$1 = \"\"; print}" | sort'
top_tree='start_d -u user $I sh -c "sleep 77 & sleep 88"; sleep 0.5; $E exec -u root -d c1 sleep 99; sleep 0.5; $E top c1 -eo pid,ppid,user,comm,args >t; awk "NR > 1 {n[\$1] = \$4; p[NR] = \$2; \$1 = \"\"; l[NR] = \$0} END {for (i in l) {\$0 = l[i]; print (n[p[i]] ? n[p[i]] : \"none\"), \$2, \$3, \$4, \$5, \$6}}" t | sort'
on docker
same "top" "$top"
same "top, of a user, with a tree" "$top_tree"
on podman
lacks "top" "Podman 5 joins the pid namespace of the monitor and mounts a /proc of its own there" "qemu-system" "$top"
lacks "top, of a user, with a tree" "Podman 5 joins the pid namespace of the monitor and mounts a /proc of its own there" "qemu-system" "$top_tree"
on both
same "stats names it and counts its processes" 'start_d $I sleep 100; $E stats --no-stream --format "{{.Name}}" c1'
differs "stats: processes and the limit" "the VM as a whole: its threads on the host, and its limit there (docs/dink-vm.md)" "^[0-9]+ of ([34][0-9][0-9].*(MiB|MB)|67.11MB)" 'start_d -m 64m $I sh -c "sleep 77 & sleep 88"; sleep 1; $E stats --no-stream --format "{{.PIDs}} {{.MemUsage}}" c1 | sed "s# .*/# of#"'
same "stats: CPU time is the program's" 'start_d $I sh -c "while :; do :; done"; sleep 2; $E stats --no-stream --format "{{.CPUPerc}}" c1 | awk "{print (\$1 + 0 > 10 && \$1 + 0 < 130) ? \"one\" : \$1}"'
# Podman tells the average since the start, and with it what starting a VM takes
same "stats: --cpus holds" 'start_d --cpus 0.5 $I sh -c "while :; do :; done"; sleep 6; $E stats --no-stream --format "{{.CPUPerc}}" c1 | awk "{print (\$1 + 0 > 5 && \$1 + 0 < 65) ? \"half\" : \$1}"'
same "the health check" 'start_d --health-cmd "test -e /tmp/ok" --health-interval 300ms --health-retries 2 $I sh -c "sleep 1.5; touch /tmp/ok; sleep 100"; for i in $(seq 100); do s=$($E inspect -f "{{.State.Health.Status}}" c1); [ "$s" = healthy ] && break; sleep 0.1; done; echo $s'

same "a health check that fails" 'start_d --health-cmd "echo sick; exit 1" --health-interval 300ms --health-retries 2 $I sleep 100; for i in $(seq 100); do s=$($E inspect -f "{{.State.Health.Status}}" c1); [ "$s" = unhealthy ] && break; sleep 0.1; done; echo $s'

# --- what engines tell ---
same "inspect of a running one has a process" 'start_d $I sleep 100; p=$($E inspect -f "{{.State.Pid}}" c1); [ -d /proc/$p ] && echo there; $E kill c1 >/dev/null; $E wait c1; $E inspect -f "{{.State.Pid}}" c1'
same "an engine's own error is 125" '$E run $R --no-such-flag $I true 2>/dev/null; echo $?; $E run --rm $R -m 1 $I true >/dev/null 2>&1; echo $?'
same "--cidfile" 'run --cidfile id $I true; wc -c <id'
same "--env-file" 'printf "A=1\nB=two words\n" >e; run --env-file e $I sh -c "echo \$A \$B"'
same "resources that a VM has no use for" 'run --cpu-shares 512 --cpuset-cpus 0 --memory-reservation 32m --memory-swappiness 10 --blkio-weight 100 $I echo ok 2>/dev/null'
same "--uts host, --cgroupns host" 'run --cgroupns host $I echo ok'
same "--stop-timeout" 'start_d --stop-timeout 1 $I sleep 100; $E stop c1 >/dev/null'
same "--log-driver none" '$E run -d $R --name c1 --network none --log-driver none $I sh -c "echo x; exit 2" >/dev/null; $E wait c1'
same "--expose and port" 'net_d --expose 81 -p 127.0.0.1:28192:82 $I sleep 100 >/dev/null; $E port c1'
same "--init reaps" '[ "$engine" = podman ] || { start_d --init $I sh -c "(sleep 0.1 &) ; sleep 100"; sleep 1; $E exec c1 ps -o comm | sort; }'
same "a terminal has the size that was asked for" 'timeout 20 script -qec "stty rows 33 cols 77; $E run --rm $R --network none -it $I sh -c \"sleep 0.3; stty size\"" /dev/null </dev/null | tr -d "\r" | tail -n 1'
same "an exec's terminal has a size" 'start_d $I sleep 100; timeout 20 script -qec "stty rows 33 cols 77; $E exec -it c1 sh -c \"sleep 0.3; stty size\"" /dev/null </dev/null | tr -d "\r" | tail -n 1'
same "Ctrl-C on a terminal" '>out; (wait_for 20 grep -q up out; printf "\003"; sleep 1) | timeout 40 script -qefc "$E run --rm $R --network none -it $I sh -c \"trap \\\"echo int; exit 9\\\" INT; echo up; while :; do sleep 0.1; done\"" /dev/null >out; grep -c int out'
same "cp keeps links, modes and owners, outward" 'start_d $I sh -c "mkdir -p /tmp/d/e; cd /tmp/d; echo x >f; chmod 4750 f; chown 5:6 f; chmod 1711 e; ln -s f l; ln -s /no/where n; echo up; sleep 100"; said up; $E cp -a c1:/tmp/d back; stat -c "%n %a %u %g" back back/e back/f; readlink back/l back/n'
same "cp keeps links, modes and owners, inward" 'mkdir -p d/e; echo x >d/f; chmod 4750 d/f; chown 5:6 d/f; chmod 1711 d/e; ln -s f d/l; start_d $I sleep 100; $E cp -a d c1:/tmp/; $E exec c1 sh -c "cd /tmp/d; stat -c \"%n %a %u %g\" . e f; readlink l"'
same "cp of a link, of what is not there, to where nothing is" 'start_d $I sh -c "echo x >/tmp/f; ln -s f /tmp/l; echo up; sleep 100"; said up; $E cp c1:/tmp/l l; [ -L l ] && readlink l || cat l; $E cp c1:/no/such x >/dev/null 2>&1; echo $?; echo y >y; $E cp y c1:/no/such/folder/ >/dev/null 2>&1; echo $?'
# a VM keeps names for a second (docs/dink-vm.md, Volumes)
same "cp onto a folder and a file" 'start_d $I sh -c "mkdir /tmp/d; echo old >/tmp/f; echo up; sleep 100"; said up; sleep 1.2; echo new >n; $E cp n c1:/tmp/d; $E cp n c1:/tmp/f; $E exec c1 cat /tmp/d/n /tmp/f; mkdir m; $E cp m c1:/tmp/f >/dev/null 2>&1; echo $?'
same "cp of a folder's contents" 'mkdir -p d/e; echo x >d/e/f; start_d $I sleep 100; $E cp d/. c1:/tmp; $E exec c1 cat /tmp/e/f; $E cp c1:/tmp/e/. out; cat out/f'
on docker
same "cp -L" 'start_d $I sh -c "echo x >/tmp/f; ln -s f /tmp/l; echo up; sleep 100"; said up; $E cp -L c1:/tmp/l l; cat l'
on both
same "O_DIRECT on a volume" 'mkdir v; run -v $PWD/v:/v $I sh -c "dd if=/bin/busybox of=/v/f bs=4096 count=64 oflag=direct 2>/dev/null; echo \$?; dd if=/v/f of=/tmp/g bs=4096 iflag=direct 2>/dev/null; echo \$?; cmp /v/f /tmp/g"; cmp -n 262144 v/f $T/rootfs/bin/busybox && echo same'
same "--mount type=volume" 'run --mount type=volume,src=vol,dst=/v $I sh -c "echo x >/v/y"; run --mount type=volume,src=vol,dst=/v,readonly $I sh -c "cat /v/y; echo z >/v/z; echo \$?"'
same "--mount type=tmpfs, its mode" 'run --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 $I sh -c "stat -c %a /t"'
same "--mount type=bind, its propagation" 'mkdir v; run --mount type=bind,src=$PWD/v,dst=/v,bind-propagation=rprivate $I sh -c "echo x >/v/y"; cat v/y'
on docker
same "--mount type=bind, not what is below" 'mkdir -p v/m; mount -t tmpfs t v/m; echo deep >v/m/f; run --mount type=bind,src=$PWD/v,dst=/v,bind-nonrecursive $I ls /v/m; umount v/m'
same "--mount type=volume without a copy" 'run --mount type=volume,src=vol,dst=/etc,volume-nocopy $I ls /etc/passwd'
on podman
same "--mount type=image" 'run --mount type=image,src=box:1,dst=/i $I ls /i/etc/passwd'
same "a volume whose changes are thrown away" 'mkdir v; echo x >v/a; run -v $PWD/v:/v:O $I sh -c "cat /v/a; echo y >/v/a; echo z >/v/b; cat /v/a"; cat v/*'
same "--mount type=devpts" 'run --mount type=devpts,dst=/dev/pts2 $I sh -c "ls /dev/pts2"'
on both
same "--device-cgroup-rule" 'for r in "c 10:229 rwm" "c 1:3 r"; do run --device-cgroup-rule "$r" $I sh -c "mknod /tmp/f c 10 229; exec 3<>/tmp/f && echo open" 2>&1 | sed "s/.*: //"; done'
same "cp by a stream" 'start_d $I sleep 100; mkdir d; echo x >d/f; tar -C d -c f | $E cp - c1:/tmp; $E exec c1 cat /tmp/f; $E cp c1:/tmp/f - | tar -xO'
same "shared propagation" 'mkdir v; mount -t tmpfs t v; mount --make-shared v; run -v $PWD/v:/v:rshared $I sh -c "echo x >/v/y"; cat v/y; umount v'
same "a mount below a volume" 'mkdir -p v/m; mount -t tmpfs t v/m; echo deep >v/m/f; run -v $PWD/v:/v $I cat /v/m/f; umount v/m'
same "extended attributes of a volume" 'mkdir v; touch v/f; setfattr -n user.a -v b v/f; run -v $PWD/v:/v $I touch /v/f; getfattr --only-values -n user.a v/f'
same "two containers write one volume" 'mkdir v; for i in 1 2; do run -v $PWD/v:/v $I sh -c "for n in \$(seq 50); do echo $i >>/v/log; done" & done; wait; wc -l <v/log; sort v/log | uniq -c | tr -s " "'
same "a device that is not there" 'run --device /dev/nosuch $I true >/dev/null 2>&1; echo $?'
on docker
same "--restart unless-stopped survives its end" 'start_d --restart unless-stopped $I sh -c "echo up; sleep 0.3; exit 1"; for i in $(seq 100); do [ "$($E logs c1 | wc -l)" -ge 2 ] && break; sleep 0.1; done; [ "$($E logs c1 | wc -l)" -ge 2 ] && echo again; $E stop -t 0 c1 >/dev/null 2>&1; sleep 1; $E inspect -f "{{.State.Running}}" c1; $E rm -f c1 >/dev/null'
same "update --restart" 'start_d $I sleep 100; $E update --restart always c1 >/dev/null; $E inspect -f "{{.HostConfig.RestartPolicy.Name}}" c1; $E update --restart no c1 >/dev/null'
on both

# --- networks ---
same "--network none" 'run $I sh -c "ls /sys/class/net; ping -c 1 127.0.0.1 >/dev/null; echo \$?"'
same "a bridge: interface, route, gateway" 'net_run $I sh -c "ls /sys/class/net | sort; ip route | grep -c default; ping -c 1 -W 3 \$(ip route | awk \"/default/{print \\\$3}\") >/dev/null; echo \$?"'
same "the MTU" 'net_run $I cat /sys/class/net/eth0/mtu'
same "--mac-address" 'net_run --mac-address 02:11:22:33:44:55 $I cat /sys/class/net/eth0/address'
same "a published TCP port" 'net_d -p 127.0.0.1:28190:80 $I sh -c "echo served >/tmp/i; while :; do nc -l -p 80 </tmp/i; done" >/dev/null; for i in $(seq 50); do r=$(curl -s --http0.9 -m 2 http://127.0.0.1:28190/) && [ "$r" ] && break; sleep 0.2; done; echo $r'
same "a web server for the host" 'net_d $I sh -c "mkdir /w; echo page >/w/i; httpd -f -p 80 -h /w" >/dev/null; ip=$(address c1); for i in $(seq 50); do r=$(curl -s -m 2 http://$ip/i) && break; sleep 0.2; done; echo $r'
same "a published UDP port" 'net_d -v $T/udp_echo:/udp_echo -p 127.0.0.1:28191:90/udp $I /udp_echo >/dev/null; exec 3<>/dev/udp/127.0.0.1/28191; for i in $(seq 30); do printf hey >&3; r=$(timeout 0.5 head -c 3 <&3 2>/dev/null); [ "$r" ] && break; done; echo $r'
[ "$label" = podman ] && on docker # CNI without dnsname knows no names
same "two containers by name" '$E network create $BR_OPT n1 >/dev/null; net=n1 net_d $I sh -c "mkdir /w; echo page >/w/i; httpd -f -p 80 -h /w" >/dev/null; net=n1 net_run $I sh -c "for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://c1/i && break; sleep 0.3; done"'
on both
same "an address of one's own" '$E network create $BR_OPT --subnet 172.31.240.0/24 n1 >/dev/null; net=n1 net_run --ip 172.31.240.77 $I sh -c "ip -o -4 addr show eth0 | awk \"{print \\\$4}\""'
same "IPv6" '$E network create $BR_OPT --ipv6 --subnet fd00:d1:1::/64 n1 >/dev/null; net=n1 net_run --ip6 fd00:d1:1::77 $I sh -c "ip -o -6 addr show eth0 | grep -c fd00:d1:1::77; ping -6 -c 1 -W 3 fd00:d1:1::1 >/dev/null; echo \$?"'
same "a network joined before the start" '$E network create $BR_OPT --subnet 172.31.241.0/24 n1 >/dev/null; $E create $R --name c1 $I sh -c "ls /sys/class/net | sort" >/dev/null; $E network connect n1 c1; $E start -a c1'
same "DNS of a user network" '$E network create $BR_OPT n1 >/dev/null; net=n1 net_run $I sh -c "grep -c nameserver /etc/resolv.conf"'
same "a network connected while it runs, and disconnected" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; net_d $I sleep 100 >/dev/null; $E network connect --ip 172.31.242.9 n1 c1; $E exec c1 sh -c "ls /sys/class/net | sort; ip -o -4 addr show eth1 | awk \"{print \\\$4}\"; ip route | grep -c default; ping -c 1 -W 3 172.31.242.1 >/dev/null; echo \$?"; $E network disconnect n1 c1; $E exec c1 sh -c "ls /sys/class/net | sort; ping -c 1 -W 3 \$(ip route | awk \"/default/{print \\\$3}\") >/dev/null; echo \$?"'
same "the routes of a network connected while it runs" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; net_d $I sleep 100 >/dev/null; $E network connect --ip 172.31.242.9 n1 c1; $E exec c1 ip route | sed "s/$NET[.0-9/]*/NET/g" | sort; $E network disconnect n1 c1; $E exec c1 ip route | sed "s/$NET[.0-9/]*/NET/g" | sort'
same "connected and disconnected again and again" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; net_d $I sleep 100 >/dev/null; for i in 1 2 3 4 5; do $E network connect n1 c1; $E exec c1 ping -c 1 -W 3 172.31.242.1 >/dev/null; echo $?; $E network disconnect n1 c1; done; $E exec c1 ls /sys/class/net | sort'
same "its only network disconnected" 'net_d $I sleep 100 >/dev/null; $E network disconnect $NETNAME c1; $E exec c1 ls /sys/class/net; $E network connect $NETNAME c1; $E exec c1 sh -c "ls /sys/class/net | sort; ping -c 1 -W 3 $NET.1 >/dev/null; echo \$?"'
same "connected while it is paused" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; net_d $I sleep 100 >/dev/null; $E pause c1 >/dev/null; $E network connect n1 c1; echo $?; $E unpause c1 >/dev/null; $E exec c1 ls /sys/class/net | sort'
same "connect where there is no network" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; start_d $I sleep 100; $E network connect n1 c1 >/dev/null 2>&1; echo $?; $E exec c1 ls /sys/class/net'
same "a restart keeps what was connected" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; net_d $I sleep 100 >/dev/null; $E network connect n1 c1; $E restart -t 0 c1 >/dev/null; $E exec c1 ls /sys/class/net | sort'
[ "$label" = podman ] && on docker
same "names of a network connected while it runs" '$E network create $BR_OPT --subnet 172.31.242.0/24 n1 >/dev/null; $E run -d $R --name c2 --network n1 $I sh -c "mkdir /w; echo page >/w/i; httpd -f -p 80 -h /w" >/dev/null; net_d $I sleep 100 >/dev/null; $E network connect n1 c1; $E exec c1 sh -c "for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://c2/i && break; sleep 0.3; done"'
same "--network-alias" '$E network create $BR_OPT n1 >/dev/null; net=n1 net_d --network-alias other $I sh -c "mkdir /w; echo page >/w/i; httpd -f -p 80 -h /w" >/dev/null; net=n1 net_run $I sh -c "for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://other/i && break; sleep 0.3; done"'
on docker
same "--link" 'net_d $I sh -c "mkdir /w; echo page >/w/i; httpd -f -p 80 -h /w" >/dev/null; net_run --link c1:other $I sh -c "for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://other/i && break; sleep 0.3; done"'
on both
differs "--network container" "each VM has its own network stack" "another VM" 'net_d $I sleep 100 >/dev/null; $E run --rm $R --network container:c1 $I ls /sys/class/net'
differs "--network host" "a VM cannot have the host's network stack" "host networking is not possible" '$E run --rm $R --network host $I true'
differs "--pid host" "a VM cannot see the host's processes" "cannot be seen from a VM" 'run --pid host $I true'
differs "--pid container" "each VM has its own processes" "cannot join the pid namespace" 'start_d $I sleep 100; run --pid container:c1 $I true'
differs "--ipc container" "each VM has its own kernel" "cannot join the ipc namespace" 'start_d --ipc shareable $I sleep 100; run --ipc container:c1 $I true'
same "--ipc private, shareable, none" 'for i in private shareable none; do run --ipc $i $I sh -c "grep -c \" /dev/shm \" /proc/mounts"; done'
same "--ipc host" 'run --ipc host $I true'
differs "--privileged" "in its VM, also where the host withholds a capability" "^CapEff:.*ffffffff" 'run --privileged $I sh -c "grep CapEff /proc/self/status"'
on podman
# an image and a program of its own, for the infra container of Debian is another package's
differs "a pod" "its containers share namespaces of one kernel: in a VM each has its own" "another VM|cannot join the (ipc|uts|net[a-z]*) namespace" '$E pod create --name pp --infra-image box:1 --infra-command "/bin/sleep 1000" >/dev/null; $E run --rm --pod pp $I echo in; $E pod rm -f $NOW pp >/dev/null'
differs "a pod that shares its network only" "the same" "another VM" '$E pod create --name pp --share net --infra-image box:1 --infra-command "/bin/sleep 1000" >/dev/null; $E run --rm --pod pp $I echo in; $E pod rm -f $NOW pp >/dev/null'
same "a pod that shares nothing" '$E pod create --name pp --infra=false >/dev/null; $E run --rm --pod pp --network none $I echo in; $E run -d --name c1 --pod pp --network none $I sleep 100 >/dev/null; $E pod ps --format "{{.Name}} {{.NumberOfContainers}}"; $E pod stop -t 0 pp >/dev/null; $E pod rm -f $NOW pp >/dev/null'
differs "container checkpoint" "virtiofs cannot be saved, and an engine shares /etc/hosts by it" "shares files|CRIU|criu" 'start_d $I sleep 100; $E container checkpoint c1; echo $?; $E inspect -f "{{.State.Status}}" c1'
on docker
differs "checkpoint" "virtiofs cannot be saved, and an engine shares /etc/hosts by it" "shares files" 'start_d $I sleep 100; $E checkpoint create c1 ck; echo $?; $E inspect -f "{{.State.Status}}" c1'
on both

# --- many ---
same "eight at once" 'for i in 1 2 3 4 5 6 7 8; do run $I sh -c "echo $i" & done | sort; wait'

# --- long ---
long "every exit code" 'for c in $(seq 0 255); do run $I sh -c "exit $c"; [ $? = $c ] || echo "not $c"; done'
long "death by every signal" 'for s in $(seq 1 64); do case $s in 17|18|19|20|21|22|23|28|32|33) continue ;; esac; run --init=false $I sh -c "sh -c \"kill -$s \\\$\\\$\"; echo $s \$?"; done'
long "every signal by kill, to one that exits with it" 'for s in $(seq 1 31); do case $s in 9|17|18|19|20|21|22|23|28) continue ;; esac; start_d $I sh -c "trap \"exit $s\" $s; echo up; while :; do sleep 0.1; done"; said up; $E kill -s $s c1 >/dev/null; $E wait c1; $E rm -f $NOW c1 >/dev/null; done'
long "200 in sequence" 'n=0; for i in $(seq 200); do [ "$(timeout 60 $E run --rm $R --network none $I echo $i)" = $i ] && n=$((n + 1)); done; echo $n; $E ps -aq | wc -l'
