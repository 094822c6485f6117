import unittest


class Cases(unittest.TestCase):
    def test_good(self):
        self.assertTrue(True)

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_wrong(self):
        self.assertEqual(1, 2)
