# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2154 # the scripts are expanded where they run, $label is of run
# As cases.sh, for `ctr run --runtime io.containerd.runc.v2 --runc-binary`: once runs a container to
# its end, stay leaves it running (both: options, $I, the id, the command), job is `ctr task`. The
# tasks and containers that are there at the end are compared as well.

# --- run ---
same "nothing" 'once $I c1 true'
for code in 1 4 42 126 127 137 255; do
	same "exit $code" "once \$I c1 sh -c 'exit $code'"
done
same "death by a signal" 'once $I c1 sh -c "sh -c \"kill -SEGV \\\$\\\$\"; echo \$?"'
same "stdout and stderr apart" 'once $I c1 sh -c "echo out; echo err >&2; exit 3"'
# ctr forgets an end of its input that comes before the task is there, with either runtime
same "stdin" '(echo in; sleep 4) | once $I c1 cat'
same "stdin of some megabytes" '(head -c 5000000 /dev/zero; sleep 4) | once $I c1 wc -c'
same "a large output" 'once $I c1 sh -c "head -c 3000000 /dev/zero | tr \"\\\\0\" x" | wc -c'
same "a terminal" 'timeout 30 script -qec "stty rows 33 cols 77; $E run --rm -t $R $I c1 sh -c \"tty; sleep 0.3; stty size\"" /dev/null </dev/null | tr -d "\r"'
same "no such command" 'once $I c1 no-such-command 2>&1 | grep -o "executable file not found in .PATH"; echo ${PIPESTATUS[0]}'
same "a path that is not there" 'once $I c1 /no/such/path 2>&1 | grep -o "no such file or directory"; echo ${PIPESTATUS[0]}'
same "a command that is a folder" 'once $I c1 /etc >/dev/null 2>&1; echo $?'
same "--env and --cwd" 'once --env A=1 --env "B=two words" --cwd /tmp $I c1 sh -c "echo \$A \$B; pwd"'
same "--env-file" 'printf "A=1\n" >e; once --env-file e $I c1 sh -c "echo \$A"'
same "--user" 'once --user user $I c1 id; once --user 5:6 $I c1 id'
same "--hostname" 'once --hostname h1 $I c1 hostname'
same "--read-only" 'once --read-only $I c1 sh -c "echo x >/new; echo \$?"'
same "--mount, a folder" 'mkdir v; echo x >v/a; once --mount type=bind,src=$PWD/v,dst=/v,options=rbind:rw $I c1 sh -c "cat /v/a; echo y >/v/b"; cat v/b'
same "--mount, read-only" 'mkdir v; once --mount type=bind,src=$PWD/v,dst=/v,options=rbind:ro $I c1 sh -c "echo x >/v/a; echo \$?"; ls v'
same "--mount, a tmpfs" 'once --mount type=tmpfs,src=t,dst=/t,options=size=1m $I c1 sh -c "df -k /t | tail -n 1 | awk \"{print \\\$2}\""'
same "capabilities" 'once $I c1 grep Cap /proc/self/status'
same "--cap-add, --cap-drop" 'once --cap-add CAP_SYS_TIME --cap-drop CAP_CHOWN $I c1 grep Cap /proc/self/status'
same "--allow-new-privs" 'once $I c1 grep NoNewPrivs /proc/self/status; once --allow-new-privs $I c1 grep NoNewPrivs /proc/self/status'
same "--seccomp" 'once --seccomp $I c1 grep ^Seccomp: /proc/self/status; once $I c1 grep ^Seccomp: /proc/self/status'
same "--memory-limit" 'once --memory-limit 67108864 $I c1 cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null'
differs "--cpus" "a VM has that many processors, in whole ones" "^1$" 'once --cpus 1 $I c1 nproc'
same "--device" 'once --device /dev/fuse $I c1 sh -c "stat -c %t:%T /dev/fuse"'
same "--label and --annotation" 'once --label a=b --annotation c=d $I c1 true'
same "--pid-file" 'stay --pid-file p $I c1 sleep 100; [ -d /proc/$(cat p) ] && echo there'
same "--no-pivot" 'once --no-pivot $I c1 echo ok'
same "--null-io" 'once --null-io $I c1 sh -c "echo x; exit 5"'
same "--log-uri" 'stay --log-uri file://$PWD/log $I c1 sh -c "echo logged"; for i in $(seq 50); do [ -s log ] && job ls | grep -q STOPPED && break; sleep 0.1; done; cat log'
same "a network namespace by its path" 'ip netns add n1; ip -n n1 link add d0 type dummy; ip -n n1 addr add 10.9.8.7/24 dev d0; once --with-ns network:/run/netns/n1 $I c1 sh -c "ip -o -4 addr show d0 | awk \"{print \\\$4}\""; ip netns delete n1'
differs "--net-host" "a VM cannot have the host's network stack" "host networking is not possible" 'once --net-host $I c1 true'
differs "an ipc namespace by its path" "another kernel's" "cannot join the ipc namespace" 'once --with-ns ipc:/proc/self/ns/ipc $I c1 true'
differs "--privileged" "in its VM, also where the host withholds a capability" "^CapEff:.*ffffffff" 'once --privileged $I c1 grep CapEff /proc/self/status'
same "a container's file system" 'once $I c1 sh -c "echo x >/new; cat /new; rm /etc/group; ls /etc"'
same "a file that is no program" 'once $I c1 /etc/passwd >/dev/null 2>&1; echo $?'
same "--config" 'once --config /no/such $I c1 true >/dev/null 2>&1; echo $?'

# --- tasks ---
same "-d, and its state" 'stay $I c1 sleep 100; job ls | awk "NR > 1 {print \$1, \$3}"'
same "its end is seen" 'stay $I c1 sh -c "exit 7"; for i in $(seq 50); do job ls | grep -q STOPPED && break; sleep 0.1; done; job delete c1 >/dev/null; echo $?'
same "create, then start" '$E containers create $R $I c1 sh -c "echo hi; exit 6" && job start c1; echo $?'
same "start twice" '$E containers create $R $I c1 true; job start c1; job delete c1 2>/dev/null; job start c1; echo $?'
same "a name that is taken" 'stay $I c1 sleep 100; stay $I c1 sleep 100 2>/dev/null; echo $?'
same "exec" 'stay $I c1 sleep 100; job exec --exec-id e1 c1 echo hi'
for code in 1 77 255; do
	same "exec exits $code" "stay \$I c1 sleep 100; job exec --exec-id e1 c1 sh -c 'exit $code'; echo \$?"
done
same "exec, stdin" 'stay $I c1 sleep 100; (echo in; sleep 3) | job exec --exec-id e1 c1 cat'
same "exec --cwd, --user" 'stay $I c1 sleep 100; job exec --exec-id e1 --cwd /tmp --user 5:6 c1 sh -c "pwd; id"'
same "exec of no such command" 'stay $I c1 sleep 100; job exec --exec-id e1 c1 no-such-command >/dev/null 2>&1; echo $?'
same "exec -d" 'stay $I c1 sleep 100; job exec -d --exec-id e1 c1 sh -c "echo x >/tmp/d"; sleep 0.7; job exec --exec-id e2 c1 cat /tmp/d'
same "exec -t" 'stay $I c1 sleep 100; timeout 30 script -qec "stty rows 33 cols 77; $E task exec -t --exec-id e1 c1 sh -c \"sleep 0.3; stty size\"" /dev/null </dev/null | tr -d "\r"'
same "ten at once" 'stay $I c1 sleep 100; for i in 1 2 3 4 5 6 7 8 9 10; do job exec --exec-id e$i c1 echo $i & done | sort -n; wait'
same "ps counts" 'stay $I c1 sh -c "sleep 77 & sleep 88"; sleep 0.5; job ps c1 | awk "NR > 1" | wc -l'
same "pause and resume" 'stay $I c1 sleep 100; job pause c1; job ls | awk "NR > 1 {print \$3}"; job resume c1; job ls | awk "NR > 1 {print \$3}"'
same "kill" 'stay $I c1 sleep 100; job kill -s KILL c1; for i in $(seq 50); do job ls | grep -q STOPPED && break; sleep 0.1; done; job delete c1; echo $?'
same "kill, with a handler" 'stay --log-uri file://$PWD/log $I c1 sh -c "trap \"exit 9\" TERM; echo up; while :; do sleep 0.1; done"; wait_for 10 grep -q up log; job kill c1; for i in $(seq 50); do job ls | grep -q STOPPED && break; sleep 0.1; done; job delete c1; echo $?'
same "kill --all" 'stay $I c1 sh -c "sleep 77 & sleep 88"; job kill -a -s KILL c1; for i in $(seq 50); do job ls | grep -q STOPPED && break; sleep 0.1; done; job ls | awk "NR > 1 {print \$3}"'
same "kill of one that ended" 'stay $I c1 true; for i in $(seq 50); do job ls | grep -q STOPPED && break; sleep 0.1; done; job kill c1 >/dev/null 2>&1; echo $?'
same "kill of an exec" 'stay $I c1 sleep 100; job exec --exec-id e1 c1 sleep 50 & sleep 1; job kill --exec-id e1 -s KILL c1; wait $!; echo $?'
same "delete of a running one is refused" 'stay $I c1 sleep 100; job delete c1 >/dev/null 2>&1; echo $?'
same "delete --force" 'stay $I c1 sleep 100; job delete -f c1 >/dev/null; job ls -q | wc -l'
same "metrics are there" 'stay $I c1 sleep 100; job metrics c1 | awk "\$1 == \"ID\" || /pids.current|memory.usage_in_bytes|cpuacct.usage / {print \$1}" | sort'
differs "task checkpoint" "virtiofs cannot be saved; runc does it where there is CRIU" "^1$" 'stay $I c1 sleep 100; job checkpoint --image-path $PWD/ck c1 >/dev/null 2>&1; echo $?; job ls | awk "NR > 1 {print \$3}"'
same "attach" 'stay --log-uri file://$PWD/log $I c1 sh -c "sleep 1; exit 4"; timeout 20 $E task attach c1; echo $?'
same "eight at once" 'for i in 1 2 3 4 5 6 7 8; do once $I c$i sh -c "echo $i" & done | sort; wait'

# --- long ---
long "every exit code" 'for c in $(seq 0 255); do once $I c1 sh -c "exit $c"; [ $? = $c ] || echo "not $c"; done'
