# scripts/deb puts these functions into the scripts of the package liveupdate.

# Prints each luod of this system: the processes of its orchestrator and its keeper, and its state. It runs the packaged program,
# also if the file was replaced since. A luod of luoctl run is left out: it belongs to a program, and ends with it.
luods() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2>/dev/null) in
        /usr/sbin/luod | "/usr/sbin/luod (deleted)") ;;
        *) continue ;;
        esac
        # Processes of containers and of other roots are not of this system.
        [ "$process/root" -ef / ] || continue
        [ "$(argument "$process" 2)" = orchestrator ] || continue
        keeper=$(sed -n 's/^PPid:\t//p' "$process/status")
        if tr '\0' '\n' <"/proc/$keeper/cmdline" 2>/dev/null | grep -qxe --until-unused; then continue; fi
        echo "${process#/proc/} $keeper $(argument "$process" 3)"
    done
}

argument() { # PROCESS N
    sed -zn "$2p" "$1/cmdline" 2>/dev/null | tr -d '\0'
}

say() { echo "liveupdate: $*" >&2; }
