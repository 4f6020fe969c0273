# The first program that UEFI firmware starts from the disk, \EFI\BOOT\BOOTX64.EFI.
#
# It starts systemd-boot. When systemd-boot comes back, the kernel of a slot
# could not be loaded or unpacked; firmware would then go on to the network or
# stop at a prompt, for ever. The guard instead tells systemd-boot to take the
# other slot once, and restarts the machine. A committed slot whose kernel went
# bad gives way to the other one in the same manner.
#
# The file is a whole PE32+ image (PE/COFF specification; UEFI 2.10 section
# 2.1.1) that needs only an assembler. The code is independent of its address.

	.intel_syntax noprefix
	.code64
	.text

	.set	text_rva, 0x1000
	.set	reloc_rva, 0x2000
	.set	text_file, 0x200
	.set	text_size, 0x400
	.set	reloc_file, text_file + text_size
	.set	reloc_size, 0x200

headers:
	.ascii	"MZ"
	.org	0x3c
	.long	0x40			# where the PE header begins
	.ascii	"PE\0\0"
	.short	0x8664			# x86-64
	.short	2			# sections
	.long	0, 0, 0			# no time, no symbols
	.short	section_table - optional_header
	.short	0x0206			# executable, no line numbers, no debug
optional_header:
	.short	0x20b			# PE32+
	.byte	0, 0
	.long	text_size, reloc_size, 0
	.long	text_rva		# entry point
	.long	text_rva
	.quad	0			# image base: any
	.long	0x1000, 0x200		# alignment in memory, in the file
	.short	0, 0, 0, 0, 0, 0
	.long	0
	.long	0x3000			# size of the image
	.long	text_file		# size of the headers
	.long	0
	.short	10			# EFI application
	.short	0x100			# data is never executed
	.quad	0, 0, 0, 0
	.long	0
	.long	6			# data directories
	.quad	0, 0, 0, 0, 0		# none of the first five
	.long	reloc_rva, relocations_end - relocations
section_table:
	.ascii	".text\0\0\0"
	.long	text_size, text_rva, text_size, text_file, 0, 0
	.short	0, 0
	.long	0x60000020		# code, executable, readable
	.ascii	".reloc\0\0"
	.long	reloc_size, reloc_rva, reloc_size, reloc_file, 0, 0
	.short	0, 0
	.long	0x42000040		# data, discardable, readable

# Offsets in the tables of UEFI 2.10: system table (4.3), boot services (4.4),
# runtime services (4.5), loaded image protocol (9.1), text output (12.4).
	.set	ST_ConOut, 0x40
	.set	ST_RuntimeServices, 0x58
	.set	ST_BootServices, 0x60
	.set	BS_HandleProtocol, 0x98
	.set	BS_LoadImage, 0xc8
	.set	BS_StartImage, 0xd0
	.set	BS_Stall, 0xf8
	.set	RT_GetVariable, 0x48
	.set	RT_SetVariable, 0x58
	.set	RT_ResetSystem, 0x68
	.set	LI_DeviceHandle, 0x18
	.set	ConOut_OutputString, 0x08

# The stack: room for the callees' four register arguments and two more, one
# out parameter, and the device path of systemd-boot.
	.set	arg5, 0x20
	.set	arg6, 0x28
	.set	out, 0x30
	.set	path, 0x40
	.set	path_room, 0x400
	.set	frame, path + path_room + 0x80

	.set	slot_letter, 10			# in "ringfence-a"

	.org	text_file
# EFI_STATUS entry(EFI_HANDLE image in rcx, EFI_SYSTEM_TABLE *table in rdx)
entry:
	push	rbx
	push	rsi
	push	rdi
	push	r12
	push	r13
	sub	rsp, frame
	mov	rbx, rcx		# our image
	mov	r12, rdx		# system table
	mov	rsi, [rdx + ST_BootServices]
	mov	rdi, [rdx + ST_RuntimeServices]

	# The disk we were loaded from, and its device path.
	mov	rcx, rbx
	lea	rdx, [rip + loaded_image_guid]
	lea	r8, [rsp + out]
	call	[rsi + BS_HandleProtocol]
	test	rax, rax
	jnz	leave
	mov	rax, [rsp + out]
	mov	rcx, [rax + LI_DeviceHandle]
	lea	rdx, [rip + device_path_guid]
	lea	r8, [rsp + out]
	call	[rsi + BS_HandleProtocol]
	test	rax, rax
	jnz	leave

	# Copy its nodes up to the end node and append ours (UEFI 2.10 section 10.3).
	mov	r8, [rsp + out]
	lea	r9, [rsp + path]
	lea	r10, [rsp + path + path_room]
next_node:
	cmp	byte ptr [r8], 0x7f
	je	append
	movzx	ecx, word ptr [r8 + 2]
	lea	rax, [r9 + rcx]
	cmp	ecx, 4
	jb	bad_path
	cmp	rax, r10
	ja	bad_path
copy_node:
	mov	al, [r8]
	mov	[r9], al
	inc	r8
	inc	r9
	dec	ecx
	jnz	copy_node
	jmp	next_node
append:
	lea	r8, [rip + file_node]
	mov	ecx, offset file_node_end - file_node
copy_file:
	mov	al, [r8]
	mov	[r9], al
	inc	r8
	inc	r9
	dec	ecx
	jnz	copy_file

	# Load it. What cannot be loaded is the firmware's business again.
	xor	ecx, ecx
	mov	rdx, rbx
	lea	r8, [rsp + path]
	xor	r9d, r9d
	mov	qword ptr [rsp + arg5], 0
	lea	rax, [rsp + out]
	mov	[rsp + arg6], rax
	call	[rsi + BS_LoadImage]
	test	rax, rax
	jnz	leave
	mov	rcx, [rsp + out]
	xor	edx, edx
	xor	r8d, r8d
	call	[rsi + BS_StartImage]

	# It came back: say so.
	mov	rcx, [r12 + ST_ConOut]
	test	rcx, rcx
	jz	other_slot
	lea	rdx, [rip + message]
	call	[rcx + ConOut_OutputString]

	# Which entry was it? Its name begins with ringfence-a or ringfence-b; a
	# counter may follow.
other_slot:
	mov	qword ptr [rsp + out], path_room
	lea	rcx, [rip + selected]
	lea	rdx, [rip + loader_guid]
	xor	r8d, r8d
	lea	r9, [rsp + out]
	lea	rax, [rsp + path]
	mov	[rsp + arg5], rax
	call	[rdi + RT_GetVariable]
	test	rax, rax
	jnz	restart
	cmp	qword ptr [rsp + out], (slot_letter + 1) * 2
	jbe	restart
	movzx	eax, word ptr [rsp + path + slot_letter * 2]
	cmp	eax, 'a'
	je	flip
	cmp	eax, 'b'
	jne	restart
flip:
	# Choose by pattern: ringfence-a* for ringfence-b+2-1.conf.
	xor	byte ptr [rsp + path + slot_letter * 2], 'a' ^ 'b'
	mov	dword ptr [rsp + path + slot_letter * 2 + 2], '*'
	lea	rcx, [rip + one_shot]
	lea	rdx, [rip + loader_guid]
	mov	r8d, 7			# kept over a restart, for boot and run time
	mov	r9d, (slot_letter + 3) * 2
	lea	rax, [rsp + path]
	mov	[rsp + arg5], rax
	call	[rdi + RT_SetVariable]

restart:
	mov	ecx, 1000000		# a second to read the message
	call	[rsi + BS_Stall]
	xor	ecx, ecx		# EfiResetCold
	xor	edx, edx
	xor	r8d, r8d
	xor	r9d, r9d
	call	[rdi + RT_ResetSystem]
bad_path:
	movabs	rax, 0x8000000000000001	# EFI_LOAD_ERROR
leave:
	add	rsp, frame
	pop	r13
	pop	r12
	pop	rdi
	pop	rsi
	pop	rbx
	ret

	.balign	8
loaded_image_guid:
	.long	0x5b1b31a1
	.short	0x9562, 0x11d2
	.byte	0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
device_path_guid:
	.long	0x09576e91
	.short	0x6d3f, 0x11d2
	.byte	0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b


# The variables that systemd-boot shares with others (Boot Loader Interface).
loader_guid:
	.long	0x4a67b082
	.short	0x0a4c, 0x41cf
	.byte	0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f
selected:
	.string16 "LoaderEntrySelected"
one_shot:
	.string16 "LoaderEntryOneShot"

file_node:
	.byte	4, 4			# media device path, file path
	.short	file_node_last - file_node
	.string16 "\\EFI\\systemd\\systemd-bootx64.efi"
file_node_last:
	.byte	0x7f, 0xff		# end of the whole path
	.short	4
file_node_end:

message:
	.string16 "\r\nRingfence: the kernel could not be started. Restarting.\r\n"

	.org	reloc_file
# Nothing is to be relocated; firmware wants to see that this is said.
relocations:
	.long	0, 12
	.short	0, 0
relocations_end:
	.org	reloc_file + reloc_size
