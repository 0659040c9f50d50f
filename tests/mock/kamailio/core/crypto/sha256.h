/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/crypto/md5.h"
