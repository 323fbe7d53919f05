/* The few parts of the UEFI specification (2.10, sections 4, 7, 8 and 12) that our programs use.
 * Members that they do not call are kept as place holders: the layout is what counts. */
#ifndef DISPATCHD_EFI_H
#define DISPATCHD_EFI_H

typedef unsigned long long uintn;
typedef unsigned int u32;
typedef unsigned short char16;
typedef uintn efi_status;
typedef void *efi_handle;

#define EFI_SUCCESS 0
#define EFI_UNSUPPORTED (0x8000000000000000ULL | 3)

enum efi_reset { EFI_RESET_COLD = 0, EFI_RESET_SHUTDOWN = 2 };

struct efi_key {
    char16 scan_code;
    char16 unicode;
};

struct efi_text_input {
    efi_status (*reset)(struct efi_text_input *self, unsigned char extended);
    efi_status (*read_key)(struct efi_text_input *self, struct efi_key *key);
    void *wait_for_key;
};

struct efi_text_output {
    void *reset;
    efi_status (*output)(struct efi_text_output *self, const char16 *text);
};

struct efi_runtime_services {
    char header[24];
    void *time_and_variables[10];
    void (*reset_system)(enum efi_reset kind, efi_status status, uintn size, void *data);
};

struct efi_boot_services {
    char header[24];
    void *up_to_monotonic_count[28];
    efi_status (*stall)(uintn microseconds);
    efi_status (*set_watchdog)(uintn seconds, unsigned long long code, uintn size, char16 *data);
};

struct efi_system_table {
    char header[24];
    char16 *vendor;
    u32 revision;
    efi_handle input_handle;
    struct efi_text_input *input;
    efi_handle output_handle;
    struct efi_text_output *output;
    efi_handle error_handle;
    struct efi_text_output *error;
    struct efi_runtime_services *runtime;
    struct efi_boot_services *boot;
};

/* What dispatchd writes into the served bytes. Its size is fixed, so that a HEAD's length holds
 * whatever the text; volatile, so that the compiler does not fold what is in it now. */
#define SLOT_TEXT 256
struct slot {
    char magic[16];
    u32 seconds;
    u32 reserved;
    char16 text[SLOT_TEXT];
};
#define SLOT_MAGIC "dispatchd-slot1"

static volatile const struct slot slot __attribute__((used, aligned(16)));

/* The console of a machine without one is absent or fails: nothing depends on it. */
static void say(struct efi_system_table *system, const char16 *text)
{
    if (system->output)
        system->output->output(system->output, text);
}

static void say_slot(struct efi_system_table *system)
{
    char16 text[SLOT_TEXT + 1];
    int i;

    for (i = 0; i < SLOT_TEXT && slot.text[i]; i++)
        text[i] = slot.text[i];
    text[i] = 0;
    say(system, text);
    say(system, u"\r\n");
}

#endif
