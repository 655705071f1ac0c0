"""All that knows fsspec: files, local disks, remote stores, byte ranges, leases."""
