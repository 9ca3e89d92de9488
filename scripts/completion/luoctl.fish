
# The rest adds to what is generated from luoctl's options: the words behind `--`, which are another command; `help COMMAND`; and the
# state, so that session names are of the right luod.
function __luoctl_of_state
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
        case --state
            set -fx LUO_STATE $words[(math $i + 1)]
        case '--state=*'
            set -fx LUO_STATE (string replace -- --state= '' $words[$i])
        end
    end
    luoctl $argv
end

function __luoctl_program
    set -l words (commandline -opc)
    set -l i (contains -i -- -- $words)
    complete -C (string join -- ' ' (string escape -- $words[(math $i + 1)..]) (commandline -ct))
end

function __luoctl_help
    set -l words (commandline -opc)
    complete -C (string join -- ' ' luoctl $words[3..] (commandline -ct)) | string match -v -- '-*'
end

complete -c luoctl -n 'contains -- -- (commandline -opc)' -fa '(__luoctl_program)'
complete -c luoctl -n 'string match -qr "^luoctl help( (session|dax|hugepages))?\$" -- (string join -- " " (commandline -opc))' -fa '(__luoctl_help)'
