2
denylist
[all]
kexec_load errno 1
kexec_file_load errno 1
init_module errno 1
finit_module errno 1
delete_module errno 1
open_by_handle_at errno 1
name_to_handle_at errno 1
keyctl errno 1
add_key errno 1
request_key errno 1
bpf errno 1
perf_event_open errno 1
userfaultfd errno 1
io_uring_setup errno 38
io_uring_enter errno 38
io_uring_register errno 38
mount errno 1
umount2 errno 1
pivot_root errno 1
move_mount errno 1
open_tree errno 1
fsopen errno 1
fsconfig errno 1
fsmount errno 1
fspick errno 1
mount_setattr errno 1
swapon errno 1
swapoff errno 1
acct errno 1
quotactl errno 1
setns errno 1
unshare errno 1
clone errno 1 [0,268435456,SCMP_CMP_MASKED_EQ,268435456]
clone3 errno 38
