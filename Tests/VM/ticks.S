# SPDX-License-Identifier: Apache-2.0
# A guest without firmware, for the test of make kexec-guest: an image of 64 KiB that begins at the processor's reset. With each
# second of the clock it adds 1 to a count in its memory, at 0x1000, and to one in a register, and prints both on its
# serial line. So the two are equal as long as the memory and the state of the processor belong together.
#
# This is assembly because the program runs on nothing.
.code16
.set serial, 0x3f8
.set count, 0x1000

.org 0
start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x8000, %sp
    xorl %esi, %esi
    movl %esi, count
    call second
    movb %al, %bl
tick:
    call second
    cmpb %al, %bl
    je tick
    movb %al, %bl
    incl count
    incl %esi
    movl count, %eax
    call print
    movb $' ', %al
    call send
    movl %esi, %eax
    call print
    movb $'\n', %al
    call send
    jmp tick

# The second of the clock, in AL.
second:
    xorb %al, %al
    outb %al, $0x70
    inb $0x71, %al
    ret

# Prints EAX as 8 hexadecimal digits.
print:
    movw $8, %cx
digit:
    roll $4, %eax
    pushl %eax
    andb $15, %al
    addb $'0', %al
    cmpb $'9', %al
    jbe send_digit
    addb $('a' - '0' - 10), %al
send_digit:
    call send
    popl %eax
    loop digit
    ret

# Sends AL.
send:
    pushw %ax
    movw $(serial + 5), %dx
busy:
    inb %dx, %al
    testb $0x20, %al
    jz busy
    popw %ax
    movw $serial, %dx
    outb %al, %dx
    ret

# The processor begins 16 bytes before the end.
.org 0xfff0
    ljmp $0xf000, $start
.org 0x10000
