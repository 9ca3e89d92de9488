
# The function above is generated from luoctl's options. This one adds to it: the words behind `--`, which are another command;
# `help COMMAND`; options before the command; and the state, so that session names are of the right luod.
_luoctl() {
    local -i i
    for ((i = 2; i < CURRENT; i++)); do
        case ${words[i]} in
        --)
            shift i words
            ((CURRENT -= i))
            _normal
            return
            ;;
        --state) if ((i + 1 < CURRENT)); then local -x LUO_STATE=${(Q)~words[i + 1]}; fi ;;
        --state=*) local -x LUO_STATE=${(Q)words[i]#--state=} ;;
        esac
    done
    # The options before the command.
    while ((CURRENT > 2)); do
        case ${words[2]} in
        --state | --user | --timeout)
            if ((CURRENT == 3)); then
                case ${words[2]} in
                --state) _files -/ ;;
                --user) _users ;;
                esac
                return
            fi
            words=("${words[1]}" "${(@)words[4,-1]}")
            ((CURRENT -= 2))
            ;;
        --state=* | --user=* | --timeout=* | --kernel-device | help)
            words=("${words[1]}" "${(@)words[3,-1]}")
            ((CURRENT -= 1))
            ;;
        *) break ;;
        esac
    done
    __luoctl_generated
}

# zsh runs this file as the function _luoctl when that is called first; a user may also read the file.
if [[ "${funcstack[1]}" = _luoctl ]]; then
    _luoctl "${@}"
else
    compdef _luoctl luoctl
fi
