#!/bin/bash
# machine.sh FOLDER KUBELET_FOLDER: a throw-away "machine" with containerd, kubelet and kube-proxy, in namespaces of its own
# (mount, pid, network, uts, ipc, cgroup); what runs in it dies with it, and its cgroups go too. Needs root, cgroup v1
# controllers, containerd, runc, CNI's plug-ins and iptables. It has no network but its own: images come from FOLDER/images.
#
# Writes FOLDER/pid (its first process) and FOLDER/images-ready; starts kubelet when FOLDER/kubeconfig appears; ends with its
# standard input.
set -u
folder=$1
programs=$2
address=10.99.0.1

if [ "${MACHINE_INSIDE:-}" != yes ]; then
  groups=()
  while IFS=: read -r _ controllers path; do
    name=${controllers#name=}
    group=/sys/fs/cgroup/${name:-unified}${path%/}/oarlock-node-$$
    [ -d "/sys/fs/cgroup/${name:-unified}" ] && mkdir "$group" 2>/dev/null && groups+=("$group")
  done </proc/self/cgroup
  for group in "${groups[@]}"; do
    # A new cpuset group has no cores until it is told.
    if [ -f "$group/cpuset.cpus" ]; then
      cat "${group%/*}/cpuset.cpus" >"$group/cpuset.cpus"
      cat "${group%/*}/cpuset.mems" >"$group/cpuset.mems"
    fi
  done
  forget() {
    for group in "${groups[@]}"; do
      for _ in 1 2 3 4 5; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$group" ] || break
        sleep 0.5
      done
    done
  }
  trap forget EXIT
  # The caller's end, or the end of its input, ends the machine.
  (
    for group in "${groups[@]}"; do echo "$BASHPID" >"$group/cgroup.procs" || exit 1; done
    MACHINE_INSIDE=yes exec unshare --mount --propagation private --pid --fork --kill-child --net --uts --ipc --cgroup \
      bash "$0" "$folder" "$programs"
  ) </dev/null &
  inside=$!
  until first=$(pgrep -P $inside); do sleep 0.05; done
  echo "$first" >"$folder/pid"
  trap 'kill -KILL $inside 2>/dev/null' TERM INT
  (cat >/dev/null; kill -KILL $inside 2>/dev/null) <&0 &
  wait $inside
  exit
fi

mount -t proc proc /proc
umount -l -a -t cgroup,cgroup2 2>/dev/null
umount -l /sys/fs/cgroup 2>/dev/null
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir /sys/fs/cgroup/$controller
  mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller || exit 1
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t tmpfs -o mode=755 run /run
for scratch in /var/log/containers /var/lib/cni /var/lib/kubelet; do
  mkdir -p $scratch
  mount -t tmpfs tmpfs $scratch
done
hostname node1
printf '127.0.0.1 localhost\n%s node1\n' $address >/run/hosts
mount --bind /run/hosts /etc/hosts
echo "nameserver 127.0.0.1" >/run/resolv.conf
ip link set lo up
# A link that is up and leads nowhere.
ip link add node0 type dummy 2>/dev/null || ip link add node0 type bridge
ip addr add $address/24 dev node0
ip link set node0 up
ip route add default dev node0 src $address

cd "$folder" || exit 1
mkdir -p log cni containerd kubelet pods
cat >containerd.toml <<Y
version = 2
root = "$folder/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
Y
cat >cni/10-pods.conflist <<Y
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": [[{"subnet": "10.244.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
Y
cat >kubelet.yaml <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: /run/resolv.conf
clusterDNS: [10.0.0.10]
clusterDomain: cluster.local
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
oomScoreAdj: 0
maxOpenFiles: 20000
podLogsDir: $folder/pods
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
localStorageCapacityIsolation: false
syncFrequency: 10s
Y
containerd --config containerd.toml >log/containerd.log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
for image in images/*.tar; do ctr --namespace k8s.io images import "$image" >>log/images.log 2>&1; done
touch images-ready
until [ -s kubeconfig ]; do sleep 0.1; done
"$programs/kube-proxy" --kubeconfig kubeconfig --hostname-override node1 --proxy-mode iptables --cluster-cidr 10.244.0.0/24 \
  --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 >log/kube-proxy.log 2>&1 &
"$programs/kubelet" --config kubelet.yaml --kubeconfig kubeconfig --root-dir "$folder/kubelet" \
  --cert-dir "$folder/kubelet/pki" --hostname-override node1 --node-ip $address -v 2 >log/kubelet.log 2>&1
