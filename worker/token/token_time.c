/*
 * Times of tokens, to and from Unix seconds: a JWT's numbers, and ISO 8601 as PASETO writes it,
 * which is the profile of RFC 3339, strictly.
 *
 * The calendar is computed here because libc's parsers are lenient (blanks, short fields, the local
 * zone).
 */
#include "worker/token/token_inside.h"

#include <time.h>

/* 10 to the power of exponent, as far as a number of seconds can have digits. */
enum { EXPONENT_MAX = 10000 };

/* Reads what stands behind the mantissa: nothing, or an exponent. */
static int read_exponent(const char *at, const char *end)
{
    bool negative;
    int exponent = 0;

    if (at == end)
        return 0;
    at++; /* e or E */
    negative = *at == '-';
    for (at += *at == '-' || *at == '+'; at < end; at++)
        if (exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (*at - '0');
    return negative ? -exponent : exponent;
}

bool token_seconds_parse(struct slice number, int64_t *unix_s)
{
    const char *at = number.data, *end = at + number.len, *digits_end = at, *point = NULL;
    bool negative = *at == '-';
    int64_t value = 0;
    int whole; /* how many digits count, from the first one on; past the last digit zeros */

    for (at += negative; digits_end < end && *digits_end != 'e' && *digits_end != 'E'; digits_end++)
        if (*digits_end == '.')
            point = digits_end;
    whole = (int)((point ? point : digits_end) - at) + read_exponent(digits_end, end);
    for (; at < digits_end; at++) {
        if (*at == '.')
            continue;
        if (negative && *at != '0')
            return false;
        if (whole-- > 0 && (__builtin_mul_overflow(value, 10, &value) ||
                            __builtin_add_overflow(value, *at - '0', &value)))
            return false;
    }
    for (; value && whole > 0; whole--)
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
    *unix_s = value;
    return true;
}

struct reader {
    const char *at, *end;
    bool failed;
};

static int digits(struct reader *reader, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        if (reader->at == reader->end || *reader->at < '0' || *reader->at > '9') {
            reader->failed = true;
            return 0;
        }
        value = value * 10 + (*reader->at++ - '0');
    }
    return value;
}

static bool skip(struct reader *reader, char c)
{
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    return true;
}

static void expect(struct reader *reader, char c)
{
    if (!skip(reader, c))
        reader->failed = true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

static int64_t days_since_1970(int year, int month, int day)
{
    int64_t years = year - 1; /* whole years before this one, since the year 1 */
    int64_t days = years * 365 + years / 4 - years / 100 + years / 400 - 719162;

    for (int m = 1; m < month; m++)
        days += days_in_month(year, m);
    return days + day - 1;
}

/* Reads Z or the zone. Returns the zone's distance from UTC in seconds. */
static int64_t zone(struct reader *reader)
{
    int sign, hours, minutes;

    if (skip(reader, 'Z'))
        return 0;
    sign = skip(reader, '-') ? -1 : 1;
    if (sign > 0)
        expect(reader, '+');
    hours = digits(reader, 2);
    expect(reader, ':');
    minutes = digits(reader, 2);
    if (hours > 23 || minutes > 59)
        reader->failed = true;
    return sign * (hours * INT64_C(3600) + minutes * INT64_C(60));
}

static void fraction(struct reader *reader)
{
    if (!skip(reader, '.'))
        return;
    digits(reader, 1);
    for (int i = 0; i < 8 && reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
         i++)
        reader->at++;
}

bool token_time_parse(struct slice text, int64_t *unix_s)
{
    struct reader reader = { text.data, text.data + text.len, false };
    int year = digits(&reader, 4), month, day, hour, minute, second;

    expect(&reader, '-');
    month = digits(&reader, 2);
    expect(&reader, '-');
    day = digits(&reader, 2);
    expect(&reader, 'T');
    hour = digits(&reader, 2);
    expect(&reader, ':');
    minute = digits(&reader, 2);
    expect(&reader, ':');
    second = digits(&reader, 2);
    fraction(&reader);
    int64_t offset_s = zone(&reader);
    if (reader.failed || reader.at != reader.end)
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    *unix_s = days_since_1970(year, month, day) * 86400 + hour * INT64_C(3600) +
              minute * INT64_C(60) + second - offset_s;
    return *unix_s >= 0;
}

enum err token_time_add(struct buf *out, int64_t unix_s)
{
    time_t time = (time_t)unix_s;
    struct tm parts;

    if (unix_s < 0 || unix_s > TOKEN_TIME_MAX || !gmtime_r(&time, &parts))
        return ERR_BAD;
    return buf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d+00:00", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}
