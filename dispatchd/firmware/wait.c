/* Says why there is nothing to run, waits, and resets the machine so that it asks again.
 * Any key asks at once. The boot watchdog (5 minutes, UEFI 2.10 section 3.1.2) is switched off. */
#include "efi.h"

static volatile const struct slot slot = {
    SLOT_MAGIC, 600, 0, u"dispatchd: nothing to run now"};

#define TENTHS 10
#define BETWEEN_LINES 10

static void say_left(struct efi_system_table *system, u32 seconds)
{
    char16 digits[11];
    int at = 10;

    digits[at] = 0;
    do {
        digits[--at] = (char16)(u'0' + seconds % 10);
        seconds /= 10;
    } while (seconds);
    say(system, u"\rAsks again in ");
    say(system, digits + at);
    say(system, u" s; any key: now.   ");
}

static int key_pressed(struct efi_system_table *system)
{
    struct efi_key key;

    return system->input && system->input->read_key(system->input, &key) == EFI_SUCCESS;
}

efi_status efi_main(efi_handle image, struct efi_system_table *system)
{
    u32 left = slot.seconds;
    int tenth;
    int stray = 64;

    (void)image;
    system->boot->set_watchdog(0, 0, 0, 0);
    say(system, u"\r\n");
    say_slot(system);
    /* Keys from before this line were not meant for us; a stuck one must not keep us here. */
    while (stray-- && key_pressed(system))
        ;
    for (; left; left--) {
        if (left == slot.seconds || left % BETWEEN_LINES == 0)
            say_left(system, left);
        for (tenth = 0; tenth < TENTHS; tenth++) {
            system->boot->stall(1000000 / TENTHS);
            if (key_pressed(system))
                goto again;
        }
    }
again:
    say(system, u"\r\nAsking again.\r\n");
    system->runtime->reset_system(EFI_RESET_COLD, EFI_SUCCESS, 0, 0);
    return EFI_UNSUPPORTED;
}
