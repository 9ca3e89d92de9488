#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kernel-header DIRECTORY: writes a linux/liveupdate.h with the layouts of the kernel's documentation, once with the calls of
Linux 7.0 (DIRECTORY/7.0) and once with those of 7.2 (DIRECTORY/7.2)."""

import os
import sys

CALLS = [  # version, struct, command, number, fields
    ("7.0", "ioctl_create_session", "IOCTL_CREATE_SESSION", 0x00, "__s32 fd; __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];"),
    ("7.0", "ioctl_retrieve_session", "IOCTL_RETRIEVE_SESSION", 0x01, "__s32 fd; __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];"),
    ("7.0", "session_preserve_fd", "SESSION_PRESERVE_FD", 0x40, "__s32 fd; __aligned_u64 token;"),
    ("7.0", "session_retrieve_fd", "SESSION_RETRIEVE_FD", 0x41, "__s32 fd; __aligned_u64 token;"),
    ("7.0", "session_finish", "SESSION_FINISH", 0x42, "__u32 reserved;"),
    ("7.2", "session_get_name", "SESSION_GET_NAME", 0x43, "__u32 reserved; __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];"),
]

for version in "7.0", "7.2":
    lines = ["#ifndef _LIVEUPDATE_H", "#define _LIVEUPDATE_H", "#include <linux/ioctl.h>", "#include <linux/types.h>"]
    lines += ["#define LIVEUPDATE_IOCTL_TYPE 0xBA", "#define LIVEUPDATE_SESSION_NAME_LENGTH 64"]
    for since, struct, command, number, fields in CALLS:
        if since <= version:
            lines.append(f"struct liveupdate_{struct} {{ __u32 size; {fields} }};")
            lines.append(f"#define LIVEUPDATE_{command} _IO(LIVEUPDATE_IOCTL_TYPE, {number:#x})")
    directory = os.path.join(sys.argv[1], version, "linux")
    os.makedirs(directory)
    with open(os.path.join(directory, "liveupdate.h"), "w", encoding="ascii") as header:
        header.write("\n".join([*lines, "#endif", ""]))
