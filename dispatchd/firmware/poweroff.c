/* Says one line, and switches the machine off: UEFI 2.10 section 8.5.1, ResetSystem(). */
#include "efi.h"

static volatile const struct slot slot = {
    SLOT_MAGIC, 0, 0, u"dispatchd: nothing left to run, switching off"};

efi_status efi_main(efi_handle image, struct efi_system_table *system)
{
    (void)image;
    say(system, u"\r\n");
    say_slot(system);
    system->runtime->reset_system(EFI_RESET_SHUTDOWN, EFI_SUCCESS, 0, 0);
    return EFI_UNSUPPORTED;
}
