/* SPDX-License-Identifier: GPL-2.0 */
/* The RPAL selftests' way into the kselftest harness. */
#ifndef RPAL_TEST_H
#define RPAL_TEST_H

#include "kselftest_harness.h"
#include "rpal_lib.h"

/*
 * A limit only against hangs: an emulated guest on a busy machine is a
 * hundred times slower than the hardware, and no test here measures time.
 */
#undef TEST_TIMEOUT_DEFAULT
#ifdef RPAL_TEST_TIMEOUT
#define TEST_TIMEOUT_DEFAULT	RPAL_TEST_TIMEOUT
#else
#define TEST_TIMEOUT_DEFAULT	900
#endif

/* A test that runs in the harness's process, with RPAL there. */
#define RPAL_PLAIN_TEST(name)						\
	static void name##_plain(struct __test_metadata *_metadata);	\
	TEST(name)							\
	{								\
		const char *why = rpal_missing();			\
									\
		if (why)						\
			SKIP(return, "%s", why);			\
		name##_plain(_metadata);				\
	}								\
	static void							\
	name##_plain(struct __test_metadata *_metadata __maybe_unused)

/* A test that runs in a service, or (how) in one of another kind. */
#define RPAL_TEST_AS(name, how)						\
	static void name##_service(void);				\
	static long name##_run(unsigned long a0, unsigned long a1,	\
			       unsigned long a2, unsigned long a3)	\
	{								\
		(void)a0, (void)a1, (void)a2, (void)a3;			\
		name##_service();					\
		return KSFT_PASS;					\
	}								\
	TEST(name)							\
	{								\
		const char *missing = rpal_missing();			\
		char why[RPAL_WHY_LEN];					\
		int ret;						\
									\
		if (missing)						\
			SKIP(return, "%s", missing);			\
		ret = rpal_run_test(name##_run, how, why);		\
		if (ret == KSFT_SKIP)					\
			SKIP(return, "%s", why);			\
		ASSERT_EQ(KSFT_PASS, ret);				\
	}								\
	static void name##_service(void)

#define RPAL_TEST(name)		RPAL_TEST_AS(name, 0)

#endif /* RPAL_TEST_H */
