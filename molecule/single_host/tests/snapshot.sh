# Print everything that a registry may leave on a machine, one line each, except files that any use of
# a machine changes: logs, caches, and files of Ansible, APT and podman itself.
set -euo pipefail
export LC_ALL=C
all=--format='{{.Name}}'
podman ps --all --format 'container {{.Names}}'
podman images --format 'image {{.Repository}}:{{.Tag}}'
podman volume ls "$all" | sed 's/^/volume /'
podman network ls "$all" | sed 's/^/network /'
podman secret ls "$all" | sed 's/^/secret /'
systemctl list-unit-files --no-legend --plain | awk '$1 !~ /\.scope$/ {print "unit", $1, $2}'
systemctl list-units --all --state=failed --no-legend --plain | awk '{print "failed", $1}'
sed 's/^/user /' /etc/passwd
sed 's/^/group /' /etc/group
sed 's/^/subordinate /' /etc/subuid /etc/subgid
# podman keeps the empty chains that it creates for its first container, so print only rules.
rules=$(nft list ruleset)
{ grep -E '\b(ip6? [sd]addr|[sd]port|[io]ifname)\b' <<<"$rules" || true; } | sed 's/^/firewall /'
sysctl --all 2>/dev/null | grep -E '^net\.ipv4\.(ip_forward|ip_unprivileged_port_start)' | sed 's/^/kernel /'
dpkg-query --show --showformat='package ${Package}\n'
find / -xdev \
    -path /var/log -prune -o -path /var/cache -prune -o -path /var/lib/apt -prune \
    -o -path /var/lib/dpkg -prune -o -path /var/lib/systemd -prune -o -path /tmp -prune \
    -o -path /var/tmp -prune -o -name .ansible -prune -o -name __pycache__ -prune \
    -o -path /var/lib/containers -prune -o -printf 'file %M %u %g %p\n'
