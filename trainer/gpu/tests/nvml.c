// A libnvidia-ml.so.1 for tests: GPU 0 tells everything, GPU 1 next to nothing, and slice 2 is a part of GPU 0. GPU 0 is hot, and
// has an error soon after somebody asks for errors. NVML_STANDS_STILL=1 makes the driver hang, as a sick one does.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { int number; const char *uuid, *name; } Device;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { Device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;
enum { DONE = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMED_OUT = 10 };

static Device devices[] = {
  {0, "GPU-00000000-0000-0000-0000-000000000001", "NVIDIA H200"},
  {1, "GPU-00000000-0000-0000-0000-000000000002", "Tesla K80"},
  {2, "MIG-00000000-0000-0000-0000-000000000003", "NVIDIA H200 MIG 1g.18gb"},
};
static int told = 0;

int nvmlInit_v2(void) { return DONE; }
int nvmlShutdown(void) { return DONE; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return DONE; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
  *device = &devices[index];
  return index < 2 ? DONE : INVALID;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
  for (int i = 0; i < 3; i++)
    if (!strcmp(devices[i].uuid, uuid)) { *device = &devices[i]; return DONE; }
  return NOT_FOUND;
}
int nvmlDeviceIsMigDeviceHandle(Device *device, unsigned *is) { *is = device->number == 2; return DONE; }
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *slice, Device **device) {
  *device = &devices[0];
  return slice->number == 2 ? DONE : INVALID;
}
int nvmlDeviceGetIndex(Device *device, unsigned *index) { *index = device->number; return DONE; }
int nvmlDeviceGetUUID(Device *device, char *text, unsigned length) { strncpy(text, device->uuid, length); return DONE; }
int nvmlDeviceGetName(Device *device, char *text, unsigned length) { strncpy(text, device->name, length); return DONE; }
int nvmlDeviceGetMemoryInfo_v2(Device *device, Memory *memory) {
  if (getenv("NVML_STANDS_STILL")) for (;;) pause();
  memory->total = device->number == 2 ? 18ull << 30 : 141ull << 30;
  memory->used = device->number == 2 ? 1ull << 30 : 97ull << 30;
  return device->number == 1 ? NOT_SUPPORTED : DONE;
}
// GPU 0 answers, all others can't.
#define ONLY_FIRST(value) do { *out = (value); return device->number == 0 ? DONE : NOT_SUPPORTED; } while (0)
int nvmlDeviceGetUtilizationRates(Device *device, Utilization *out) { ONLY_FIRST(((Utilization){97, 40})); }
int nvmlDeviceGetClockInfo(Device *device, unsigned clock, unsigned *out) { ONLY_FIRST(clock == 1 ? 1830 : 0); }
int nvmlDeviceGetPowerUsage(Device *device, unsigned *out) { ONLY_FIRST(612500); }
int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *out) { ONLY_FIRST(sensor == 0 ? 88 : 0); }
int nvmlDeviceGetTotalEccErrors(Device *device, unsigned error, unsigned counter, unsigned long long *out) {
  ONLY_FIRST(error == 1 && counter == 0 ? 3 : 0);
}
// Power cap and hardware thermal slowdown.
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *out) { ONLY_FIRST(0x44); }
int nvmlEventSetCreate(void **set) { *set = &told; return DONE; }
int nvmlEventSetFree(void *set) { return set == &told ? DONE : INVALID; }
int nvmlDeviceRegisterEvents(Device *device, unsigned long long types, void *set) {
  return device && types == 8 && set == &told ? DONE : INVALID;
}
int nvmlEventSetWait_v2(void *set, Event *event, unsigned timeout_ms) {
  (void)set;
  usleep(told ? timeout_ms * 1000 : 20000);
  *event = (Event){&devices[0], 8, 79, 0, 0};
  return told++ ? TIMED_OUT : DONE;
}
