"""Becomes a container: run inside the network namespace of a pod, gives itself the file tree, the user and the rights that the manifest
says, and then becomes the program. What the kernel is asked for is what a container runtime asks it for."""

import ctypes
import json
import os
import subprocess
import sys

CLONE_NEWNS = 0x00020000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPABILITIES = {"NET_BIND_SERVICE": 10}

libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def main():
    spec = json.load(open(sys.argv[1]))
    root = spec["root"]
    must(libc.unshare(CLONE_NEWNS), "unshare")
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for name in ("usr", "proc", "dev", "etc", "app"):
        os.mkdir(f"{root}/{name}")
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{name}", f"{root}/{name}")
    for name in ("usr", "proc", "dev"):
        mount("--rbind", f"/{name}", f"{root}/{name}")
    open(f"{root}/app/meetpoint", "w").close()
    mount("--bind", spec["program"], f"{root}/app/meetpoint")
    with open(f"{root}/etc/hosts", "w") as hosts:
        for name, address in spec["hosts"].items():
            hosts.write(f"{address} {name}\n")
    for place, directory in spec["mounts"].items():
        os.makedirs(root + place)
        mount("--bind", directory, root + place)
        mount("-o", "remount,bind,ro", root + place)
    if spec["read_only"]:
        mount("-o", "remount,ro", root)
    os.chroot(root)
    os.chdir("/")
    keep = {CAPABILITIES[name] for name in spec["capabilities"]}
    for capability in range(64):
        if capability not in keep:
            # Beyond the last one that the kernel knows this fails, as it should.
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([spec["fs_group"]])
    os.setresgid(*[spec["group"]] * 3)
    os.setresuid(*[spec["user"]] * 3)
    if spec["no_new_privileges"]:
        must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    os.execve("/app/meetpoint", ["meetpoint", *spec["arguments"]], spec["environment"])


main()
