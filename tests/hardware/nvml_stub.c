/* A libnvidia-ml.so.1 for tests. NVML_STUB_<WORD> in the environment says what it answers, read at
   every call; NVML_STUB_FAIL is a list such as "nvmlDeviceGetPowerUsage=3,nvmlInitWithFlags=9". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long number(const char *name, unsigned long long otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static int failure(const char *function) {
    const char *list = getenv("NVML_STUB_FAIL");
    const char *at = list ? strstr(list, function) : NULL;
    return at && at[strlen(function)] == '=' ? atoi(at + strlen(function) + 1) : 0;
}

#define CHECK do { int code = failure(__func__); if (code) return code; } while (0)

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } utilization_t;

/* A handle is 1 + the device's number; a MIG instance adds 100 x (1 + its own number). */
#define DEVICE(handle) ((size_t)(handle) % 100 - 1)
#define INSTANCE(handle) ((size_t)(handle) / 100)

int nvmlInitWithFlags(unsigned int flags) { CHECK; (void)flags; return 0; }
int nvmlShutdown(void) { CHECK; return 0; }
const char *nvmlErrorString(int code) {
    switch (code) {
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *text, unsigned int length) {
    CHECK; snprintf(text, length, "999.1"); return 0;
}
int nvmlDeviceGetCount_v2(unsigned int *count) {
    CHECK; *count = number("NVML_STUB_GPUS", 1); return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    CHECK;
    if (index + 1 == number("NVML_STUB_LOST", 0)) return 15;
    *handle = (void *)(size_t)(index + 1);
    return 0;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned int length) {
    CHECK; (void)handle; snprintf(text, length, "Stub 9000"); return 0;
}
int nvmlDeviceGetUUID(void *handle, char *text, unsigned int length) {
    CHECK;
    snprintf(text, length, "%s-%zu-%zu", INSTANCE(handle) ? "MIG" : "GPU", DEVICE(handle),
             INSTANCE(handle));
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    CHECK;
    if (!INSTANCE(handle) && number("NVML_STUB_MIG", 0)) return 4;
    memory->total = number("NVML_STUB_TOTAL", 8000);
    memory->free = number("NVML_STUB_FREE", 6000);
    memory->used = memory->total - memory->free;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *rates) {
    CHECK;
    if (INSTANCE(handle)) return 3;
    rates->gpu = 70; rates->memory = 20;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
    CHECK; (void)handle; *milliwatts = 120500; return 0;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned int *degrees) {
    CHECK; (void)handle; (void)sensor; *degrees = 61; return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons) {
    CHECK; (void)handle; *reasons = number("NVML_STUB_REASONS", 0); return 0;
}
int nvmlDeviceGetMigMode(void *handle, unsigned int *now, unsigned int *pending) {
    CHECK;
    (void)handle;
    *now = *pending = number("NVML_STUB_MIG", 0) ? 1 : 0;
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
    CHECK; (void)handle; *count = 7; return 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **instance) {
    CHECK;
    if (index >= number("NVML_STUB_MIG", 0)) return 6;
    *instance = (void *)((size_t)handle + 100 * (index + 1));
    return 0;
}
